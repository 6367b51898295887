"""Where the images of a split come from."""

import abc
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from qfa_tf.data.cropping import FixedRegion, RandomRegion, resample
from qfa_tf.data.identity import array_ids
from quantize_configs.errors import InvalidInputError

Region = FixedRegion | RandomRegion

as_it_stands = tf.autograph.experimental.do_not_convert
"""For functions of pipelines, whose control flow asks for no tensor: TensorFlow parses, rewrites
and compiles all others first, which is a good part of the start of a program."""


class ImageSource(abc.ABC):
    """Labelled images with random access.

    Attributes:
      channels: 1 (grey) or 3 (RGB).
      labels_known: Whether `labels` needs no look at the images.
    """

    channels: int
    labels_known: bool = True

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abc.abstractmethod
    def labels(self, indices: np.ndarray) -> np.ndarray:
        """int32 [n], the labels of the images at int64 [n] `indices`."""

    @abc.abstractmethod
    def content_ids(self, indices: np.ndarray) -> np.ndarray:
        """uint64 [n]: equal for equal images, evenly spread; see `qfa_tf.data.identity`."""

    def name_ids(self, indices: np.ndarray) -> np.ndarray:
        """uint64 [n]: equal for equal names; 0 where images have none."""
        return np.zeros(len(indices), np.uint64)

    @abc.abstractmethod
    def fingerprint(self, indices: np.ndarray) -> bytes:
        """Bytes that differ when these images or labels do."""

    @abc.abstractmethod
    def read(
        self, requests: tf.data.Dataset, batch_size: int, resolution: int, region: Region
    ) -> tf.data.Dataset:
        """Adds "image" and "label" to batches of requests.

        Args:
          requests: Elements are dictionaries of tensors [n, ...] with n at most `batch_size`:
            "index" int64 [n], "uniforms" float32 [n, ATTEMPTS, 4] where `region` needs them, and
            anything else.
          batch_size: All batches but the last have this size.
          resolution: Height and width of the result.
          region: The part of each image to resize.

        Returns:
          The same with "image", uint8 or float32 [n, resolution, resolution, channels], and
          "label", int32 [n].
        """


class ArrayImages(ImageSource):
    """Images of one size in memory.

    Args:
      images: uint8, or float32 in [0, 1], [N, height, width, channels].
      labels: Integers [N] or [N, 1], or one-hot rows [N, classes].
      identities: (content_ids, name_ids) of images that come from files; None to make them from
        the pixels.

    Raises:
      InvalidInputError: Shapes, types or values do not fit.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        identities: tuple[np.ndarray, np.ndarray] | None = None,
    ):
        images, labels = np.asarray(images), _plain_labels(np.asarray(labels))
        if images.ndim != 4 or labels.shape != images.shape[:1]:
            raise InvalidInputError(
                "Images [N, height, width, channels] and labels [N] are needed. Received: "
                f"{images.shape} and {labels.shape}."
            )
        if images.shape[-1] not in (1, 3):
            raise InvalidInputError(
                f"Images need 1 (grey) or 3 (RGB) channels. Received: {images.shape[-1]}."
            )
        if images.dtype not in (np.uint8, np.float32):
            raise InvalidInputError(f"Images must be uint8 or float32. Received: {images.dtype}.")
        if (
            images.dtype == np.float32
            and len(images)
            and not 0 <= images.min() <= images.max() <= 1
        ):
            raise InvalidInputError(
                "Float images must be in [0, 1]; divide those of 0 to 255 by 255. Received: "
                f"{images.min()} to {images.max()}."
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise InvalidInputError(f"Labels must be integers. Received: {labels.dtype}.")
        self.images = images
        self.channels = images.shape[-1]
        self._labels = labels.astype(np.int32)
        self._identities = identities

    def __len__(self) -> int:
        return len(self.images)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """See the base class."""
        return self._labels[indices]

    def content_ids(self, indices: np.ndarray) -> np.ndarray:
        """See the base class."""
        if self._identities is None:
            return array_ids(self.images, indices)
        return self._identities[0][indices]

    def name_ids(self, indices: np.ndarray) -> np.ndarray:
        """See the base class."""
        return (
            super().name_ids(indices) if self._identities is None else self._identities[1][indices]
        )

    def fingerprint(self, indices: np.ndarray) -> bytes:
        """See the base class."""
        return self.images[indices].tobytes() + self._labels[indices].tobytes()

    def read(
        self, requests: tf.data.Dataset, batch_size: int, resolution: int, region: Region
    ) -> tf.data.Dataset:
        """See the base class."""
        del batch_size
        images, labels = self._tensors
        height, width = self.images.shape[1:3]
        as_it_is = region == FixedRegion(resolution) and (height, width) == (resolution, resolution)

        @as_it_stands
        def read_batch(request: dict[str, Any]) -> dict[str, Any]:
            chosen = tf.gather(images, request["index"])
            if not as_it_is:
                drawn = request.get("uniforms")
                count = 1 if drawn is None else tf.shape(drawn)[0]
                sizes = tf.fill([count], float(height)), tf.fill([count], float(width))
                chosen = resample(as_float(chosen), region.boxes(drawn, *sizes), resolution)
            return {**request, "image": chosen, "label": tf.gather(labels, request["index"])}

        return requests.map(read_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    @functools.cached_property
    def _tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """On the host, once for all pipelines."""
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(self.images), tf.constant(self._labels)


def _plain_labels(labels: np.ndarray) -> np.ndarray:
    """Integers [N] of a column or of one-hot rows; anything else as it is."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0]
    if labels.ndim == 2 and labels.shape[1] > 1:
        ones = (labels == 1).sum(1) == 1
        if not (ones & ((labels != 0).sum(1) == 1)).all():
            raise InvalidInputError(
                "Labels [N, classes] must be one-hot: a single 1 in each row and zeros. Received: "
                f"row {int(np.argmin(ones))} is {labels[int(np.argmin(ones))]}."
            )
        return labels.argmax(1)
    return labels


def as_float(images: tf.Tensor) -> tf.Tensor:
    """Float32 in [0, 1] from that or uint8."""
    return tf.cast(images, tf.float32) / 255.0 if images.dtype == tf.uint8 else images
