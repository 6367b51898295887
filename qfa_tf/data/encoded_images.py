"""PNG and JPEG images that are decoded when they are needed."""

import abc
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from qfa_tf.data.errors import DataError
from qfa_tf.data.sources import ImageSource, Region, as_it_stands

_MESSAGE = "The image cannot be read, is damaged, or neither PNG nor JPEG; replace or remove it:"


class EncodedImages(ImageSource):
    """Encoded images of any sizes, decoded in the graph of the pipeline.

    A pipeline raises InvalidArgumentError for a damaged image and names it. Orientations in EXIF
    data are ignored.
    """

    @abc.abstractmethod
    def contents(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The encoded image at an int64 scalar, a string, and its label, int32; graph operations.

        They may fail when the image cannot be read.
        """

    @abc.abstractmethod
    def name(self, index: tf.Tensor) -> tf.Tensor:
        """Where the image is, a string for messages."""

    def read(
        self, requests: tf.data.Dataset, batch_size: int, resolution: int, region: Region
    ) -> tf.data.Dataset:
        """See the base class."""

        @as_it_stands
        def read_one(request: dict[str, Any]) -> dict[str, Any]:
            def read_region() -> tuple[tf.Tensor, tf.Tensor]:
                contents, label = self.contents(request["index"])
                uniforms = request.get("uniforms")
                image = _decode_region(contents, uniforms, region, resolution, self.channels)
                return image, label

            shape = [resolution, resolution, self.channels]
            image, label = self._named(request["index"], read_region, tf.float32)
            return {**request, "image": tf.ensure_shape(image, shape), "label": label}

        images = requests.unbatch().map(
            read_one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        # Without a static batch size, the last batch of the requests may be smaller.
        always_full = requests.element_spec["index"].shape[0] is not None
        return images.batch(batch_size, drop_remainder=always_full)

    def decoded(
        self, indices: np.ndarray, channels: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Whole images, uint8 [height, width, channels], and labels.

        Args:
          indices: int64 [n].
          channels: 1, 3, or 0 for what each image has.

        Raises:
          DataError: An image is damaged.
        """

        @as_it_stands
        def read_whole(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            def read_image() -> tuple[tf.Tensor, tf.Tensor]:
                contents, label = self.contents(index)
                return _decode(contents, channels), label

            return self._named(index, read_image, tf.uint8)

        dataset = tf.data.Dataset.from_tensor_slices(np.asarray(indices, np.int64))
        dataset = dataset.map(read_whole, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        try:
            yield from dataset.as_numpy_iterator()
        except tf.errors.InvalidArgumentError as error:
            raise DataError(_first_line(error)) from error

    def _named(
        self, index: tf.Tensor, function: Callable, dtype: tf.DType
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The (image, label) of `function`; when it fails, an error that names the image.

        Operations cannot be tried, but a dataset can leave out what fails: a missing element is
        then replaced by an empty image.
        """

        @as_it_stands
        def try_it(_: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image, label = function()
            return _of_any_shape(image), label

        tried = tf.data.Dataset.from_tensors(0).map(try_it).ignore_errors()
        nothing = _of_any_shape(tf.zeros([0, 0, 0], dtype)), tf.constant(-1, tf.int32)
        either = tried.concatenate(tf.data.Dataset.from_tensors(nothing)).take(1)
        image, label = either.get_single_element()
        assertion = tf.debugging.Assert(tf.size(image) > 0, [_MESSAGE, self.name(index)])
        with tf.control_dependencies([assertion]):
            return tf.identity(image), tf.ensure_shape(label, [])


def _decode(contents: tf.Tensor, channels: int) -> tf.Tensor:
    return tf.io.decode_image(contents, channels, tf.uint8, expand_animations=False)


def _decode_region(
    contents: tf.Tensor, uniforms: tf.Tensor | None, region: Region, resolution: int, channels: int
) -> tf.Tensor:
    """float32 [resolution, resolution, channels] in [0, 1]."""

    def box_in(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        sizes = tf.cast([height], tf.float32), tf.cast([width], tf.float32)
        return region.boxes(None if uniforms is None else uniforms[None], *sizes)[0]

    def from_jpeg() -> tf.Tensor:
        """Decodes only what is needed: the box and what blurs into it."""
        height, width = tf.unstack(tf.io.extract_jpeg_shape(contents)[:2])
        box = box_in(height, width)
        margins = tf.math.ceil(tf.maximum(box[2:] / resolution, 1.0))
        limits = tf.cast([height, width], tf.float32)
        corner = tf.maximum(tf.floor(box[:2] - margins), 0.0)
        end = tf.minimum(tf.math.ceil(box[:2] + box[2:] + margins), limits)
        window = tf.cast(tf.concat([corner, end - corner], axis=0), tf.int32)
        pixels = tf.image.decode_and_crop_jpeg(contents, window, channels=channels)
        return _scaled(pixels, tf.concat([box[:2] - corner, box[2:]], axis=0), resolution)

    def from_others() -> tf.Tensor:
        pixels = _decode(contents, channels)
        height, width = tf.unstack(tf.shape(pixels)[:2])
        return _scaled(pixels, box_in(height, width), resolution)

    return tf.cond(tf.io.is_jpeg(contents), from_jpeg, from_others)


def _scaled(pixels: tf.Tensor, box: tf.Tensor, resolution: int) -> tf.Tensor:
    """What `cropping.resample` does, for a single image and faster."""
    scale = resolution / box[2:]
    resized = tf.raw_ops.ScaleAndTranslate(
        images=pixels[None],
        size=[resolution, resolution],
        scale=scale,
        translation=-box[:2] * scale,
        kernel_type="triangle",
        antialias=True,
    )
    return resized[0] / 255.0


def _of_any_shape(image: tf.Tensor) -> tf.Tensor:
    """Hides the static shape, so that images of others can stand in its place."""
    return tf.raw_ops.PlaceholderWithDefault(input=image, shape=[None, None, None])


def _first_line(error: tf.errors.InvalidArgumentError) -> str:
    """The message of the assertion without what TensorFlow adds."""
    found = re.search(re.escape(_MESSAGE) + r"\]\s*\[([^\]\n]*)", str(error))
    return f"{_MESSAGE} {found.group(1)}" if found else str(error)
