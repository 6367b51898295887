"""The images of one split of a data set that TensorFlow Datasets has prepared as TFRecord files."""

import concurrent.futures
import functools
import os
import struct
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qfa_tf.data.encoded_images import EncodedImages
from qfa_tf.data.errors import DataError
from qfa_tf.data.identity import content_id
from qfa_tf.data.in_memory import number_of_channels
from qfa_tf.data.sources import as_it_stands

_HEADER = struct.Struct("<QI")  # length and its checksum in front of the data
_FOOTER_BYTES = 4  # checksum of the data
_THREADS = 8
_BUFFER_BYTES = 128 << 10

_READ_FOR_LABELS = 2 << 30
"""Bytes of examples that are read just to find their labels."""


class RecordImages(EncodedImages):
    """Examples of TFRecord files, each read where it stands.

    Args:
      name: Of the data set and split, with the version.
      paths: The files, in order.
      lengths: Number of examples in each.
      image_key: Feature with the encoded image.
      label_key: Feature with the label.
      channels: 1 or 3; None to look at a sample of the images.

    Raises:
      DataError: A file is missing or damaged.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[str],
        lengths: Sequence[int],
        image_key: str,
        label_key: str,
        channels: int | None,
    ):
        self._name = name
        self._paths = [os.fspath(path) for path in paths]
        self._image_key, self._label_key = image_key, label_key
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            spans = list(pool.map(record_spans, self._paths, lengths))
        self._files = np.repeat(np.arange(len(spans)), [len(span) for span in spans])
        self._spans = np.concatenate([np.zeros((0, 2), np.int64), *spans])
        self.labels_known = int(self._spans[:, 1].sum()) <= _READ_FOR_LABELS
        self.channels = channels or number_of_channels(self)

    def __len__(self) -> int:
        return len(self._files)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Reads the examples: the labels stand beside the images."""
        dataset = tf.data.Dataset.from_tensor_slices(np.asarray(indices, np.int64)).map(
            as_it_stands(lambda index: self.contents(index)[1]),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        try:
            return np.array(list(dataset.as_numpy_iterator()), np.int32)
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
            raise DataError(f"{self._name} is damaged: {error}. Prepare it again.") from error

    def content_ids(self, indices: np.ndarray) -> np.ndarray:
        """Of the version of the data set and the place of the example, which tell the image."""
        files = [os.path.basename(path) for path in self._paths]
        places = zip(self._files[indices], self._spans[indices], strict=True)
        ids = (
            content_id(f"{self._name} {files[file]} {start} {length}".encode())
            for file, (start, length) in places
        )
        return np.fromiter(ids, np.uint64, len(indices))

    def fingerprint(self, indices: np.ndarray) -> bytes:
        """The version of the data set, and places and lengths of the examples."""
        return f"{self._name} {len(self)}".encode() + self._spans[indices].tobytes()

    def contents(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See the base class; checksums are compared."""
        paths, files, starts = self._tables
        string = {"output_types": [tf.string], "output_shapes": [[]]}
        records = tf.raw_ops.TFRecordDatasetV2(
            filenames=tf.gather(paths, tf.gather(files, index))[None],
            compression_type="",
            buffer_size=_BUFFER_BYTES,
            byte_offsets=tf.gather(starts, index)[None],
        )
        first = tf.raw_ops.TakeDataset(input_dataset=records, count=1, **string)
        (record,) = tf.raw_ops.DatasetToSingleElement(dataset=first, **string)
        features = {
            self._image_key: tf.io.FixedLenFeature([], tf.string),
            self._label_key: tf.io.FixedLenFeature([], tf.int64),
        }
        example = tf.io.parse_single_example(record, features)
        return example[self._image_key], tf.cast(example[self._label_key], tf.int32)

    def name(self, index: tf.Tensor) -> tf.Tensor:
        """The file and the place in it."""
        paths, files, starts = self._tables
        path = tf.gather(paths, tf.gather(files, index))
        return tf.strings.join([path, ", byte ", tf.as_string(tf.gather(starts, index))])

    @functools.cached_property
    def _tables(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Paths, and for each example the number of its file and where it starts there."""
        with tf.init_scope(), tf.device("CPU:0"):
            return (
                tf.constant(self._paths),
                tf.constant(self._files),
                tf.constant(self._spans[:, 0]),
            )


def record_spans(path: str, expected: int) -> np.ndarray:
    """int64 [n, 2]: where every record of a TFRecord file starts, and the length of its data.

    Raises:
      DataError: There are not `expected` of them.
    """
    spans, position = [], 0
    try:
        size = os.path.getsize(path)
        with open(path, "rb", buffering=0) as file:
            while position < size:
                header = os.pread(file.fileno(), _HEADER.size, position)
                if len(header) < _HEADER.size:
                    break
                start, length = position, _HEADER.unpack(header)[0]
                position += _HEADER.size + length + _FOOTER_BYTES
                if position > size:
                    break
                spans.append((start, length))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Prepare the data set again.") from error
    if position != size or len(spans) != expected:
        raise DataError(
            f"{path} is damaged: {len(spans)} of {expected} examples can be found in its {size} "
            "bytes. Delete the data set and prepare it again."
        )
    return np.array(spans, np.int64).reshape(-1, 2)
