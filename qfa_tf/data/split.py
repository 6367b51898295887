"""Some images of a source, for one purpose."""

import dataclasses

import numpy as np
import tensorflow as tf

from qfa_tf.data.cropping import FixedRegion
from qfa_tf.data.sources import ArrayImages, ImageSource, as_float, as_it_stands
from quantize_configs.arguments import instance, whole_number
from quantize_configs.errors import InvalidInputError

LARGEST_ARRAY = 4 << 30
"""Bytes that `Split.read_images` may return."""


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Some of the images of a source, at one resolution, with their labels.

    `batches` and `training_batches` read it without holding its images in memory; so does
    everything else but `read_images`.

    Attributes:
      source: Where the images are.
      indices: int64 [N], which of them.
      resolution: Height and width, in pixels, to which they are resized.
      eval_crop: None to use whole images; otherwise the shorter side is resized to
        ceil(resolution / eval_crop) and the middle is used. Random crops ignore it.
    """

    source: ImageSource
    indices: np.ndarray
    resolution: int
    eval_crop: float | None = None

    def __post_init__(self):
        if not isinstance(self.resolution, int) or self.resolution < 1:
            raise InvalidInputError(
                f"resolution must be an int above 0. Received: {self.resolution!r}."
            )
        if self.eval_crop is not None and not 0 < self.eval_crop <= 1:
            raise InvalidInputError(
                "eval_crop must be None or a number above 0, at most 1, such as 0.875. "
                f"Received: {self.eval_crop!r}."
            )

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray,
        labels: np.ndarray,
        resolution: int | None = None,
        eval_crop: float | None = None,
    ) -> "Split":
        """A split of images in memory.

        Args:
          images: uint8, or float32 in [0, 1], [N, height, width, channels].
          labels: Integers [N] or [N, 1], or one-hot rows [N, classes].
          resolution: None for the size of the images, which must be square then.
          eval_crop: See the class.

        Raises:
          InvalidInputError: Something does not fit.
        """
        source = ArrayImages(images, labels)
        height, width = source.images.shape[1:3]
        if resolution is None:
            if height != width:
                raise InvalidInputError(f"Images of {height} x {width} pixels need a resolution.")
            resolution = height
        return cls(source, np.arange(len(source)), resolution, eval_crop)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of what the pipelines give."""
        return self.resolution, self.resolution, self.source.channels

    @property
    def nbytes(self) -> int:
        """Bytes of what `read_images` returns."""
        return len(self) * int(np.prod(self.image_shape)) * 4

    @property
    def labels(self) -> np.ndarray:
        """int32 [N]."""
        return self.source.labels(self.indices)

    def read_images(self) -> np.ndarray:
        """Reads, decodes and resizes all images, anew at each call.

        Returns:
          float32 [N, resolution, resolution, channels] in [0, 1].

        Raises:
          InvalidInputError: They are too large for memory.
        """
        if self.nbytes > LARGEST_ARRAY:
            raise InvalidInputError(
                f"The {len(self)} images would take {self.nbytes / 2**30:.1f} GiB. Use "
                "batches(split, batch_size), or take(indices) some of them first."
            )
        if not len(self):
            return np.zeros((0, *self.image_shape), np.float32)
        return np.concatenate([images for images, _ in batches(self, 256).as_numpy_iterator()])

    def known_labels(self) -> np.ndarray:
        """The same; zeros where they could only be found by reading all images."""
        return self.labels if self.source.labels_known else np.zeros(len(self), np.int32)

    def content_ids(self) -> np.ndarray:
        """uint64 [N], see `ImageSource.content_ids`."""
        return self.source.content_ids(self.indices)

    def name_ids(self) -> np.ndarray:
        """uint64 [N], see `ImageSource.name_ids`."""
        return self.source.name_ids(self.indices)

    def take(self, indices: np.ndarray) -> "Split":
        """The examples at `indices`, a slice or an array of places or of bools.

        Raises:
          InvalidInputError: It has no such places.
        """
        try:
            return dataclasses.replace(self, indices=self.indices[indices])
        except (IndexError, TypeError):
            raise InvalidInputError(
                f"indices must be places of the {len(self)} images, from 0. Received: "
                f"{indices!r:.200}"
            ) from None

    def fingerprint(self) -> bytes:
        """Bytes to make a digest of: others for other images, labels or preprocessing."""
        images = self.source.fingerprint(self.indices)
        stored = getattr(self.source, "images", np.empty(0)).shape[1:]
        if self.eval_crop is None and stored == self.image_shape:
            return images
        return images + f"{self.resolution} {self.eval_crop}".encode()


def batches(split: Split, batch_size: int) -> tf.data.Dataset:
    """The images in order, once, without augmentation; the last batch may be smaller.

    Returns:
      Dataset of (images float32 [n, resolution, resolution, channels] in [0, 1], labels int32).
    """
    instance("split", split, Split, "load(name, resolution).test")
    whole_number("batch_size", batch_size, 1)
    indices = tf.data.Dataset.from_tensor_slices({"index": split.indices}).batch(batch_size)
    region = FixedRegion(split.resolution, split.eval_crop)
    read = split.source.read(indices, batch_size, split.resolution, region)

    @as_it_stands
    def finish(request):
        return as_float(request["image"]), request["label"]

    return read.map(finish).prefetch(2)
