"""The images of one split of a data set that TensorFlow Datasets has prepared as TFRecord files."""

import concurrent.futures
import os
import struct
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qfa_tf.data.encoded_images import EncodedImages
from qfa_tf.data.errors import DataError
from qfa_tf.data.in_memory import number_of_channels

_HEADER = struct.Struct("<QI")  # length and its checksum in front of the data
_FOOTER_BYTES = 4  # checksum of the data
_THREADS = 8


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

    labels_known = False

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
        self.channels = channels or number_of_channels(self)

    def __len__(self) -> int:
        return len(self._files)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Reads the examples: the labels stand beside the images."""
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            labels = [label for _, label in pool.map(self.contents, map(int, indices))]
        return np.array(labels, np.int32)

    def fingerprint(self, indices: np.ndarray) -> bytes:
        """The version of the data set, and places and lengths of the examples."""
        return f"{self._name} {len(self)}".encode() + self._spans[indices].tobytes()

    def name(self, index: int) -> str:
        """The file and the place in it."""
        return f"at byte {self._spans[index][0]} of {self._paths[self._files[index]]}"

    def contents(self, index: int) -> tuple[bytes, int]:
        """See the base class."""
        path, (start, length) = self._paths[self._files[index]], self._spans[index]
        try:
            with open(path, "rb", buffering=0) as file:
                record = os.pread(file.fileno(), int(length), int(start))
            features = tf.train.Example.FromString(record).features.feature
            image = features[self._image_key].bytes_list.value[0]
            return image, features[self._label_key].int64_list.value[0]
        except Exception as error:  # the parser of the protocol buffers raises its own kinds
            raise DataError(
                f"The example {self.name(index)} cannot be read: {error}. Prepare the data set "
                "again."
            ) from error


def record_spans(path: str, expected: int) -> np.ndarray:
    """int64 [n, 2]: start and length of every record of a TFRecord file.

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
                start, length = position + _HEADER.size, _HEADER.unpack(header)[0]
                position = start + length + _FOOTER_BYTES
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
