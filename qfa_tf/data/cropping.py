"""Which part of an image is used, and bilinear resizing of that part, for a whole batch at once."""

import dataclasses
import math

import tensorflow as tf

ASPECT_RATIOS = (3 / 4, 4 / 3)
"""Width to height of a random crop, as in the ImageNet recipes."""

ATTEMPTS = 10
"""Boxes that are drawn per image; the first one that fits is taken, as in torchvision."""


@dataclasses.dataclass(frozen=True)
class FixedRegion:
    """The whole image, or the square in its middle.

    Attributes:
      resolution: Of the result, in pixels.
      crop: None for the whole image, stretched to a square; otherwise what resizing the shorter
        side to ceil(resolution / crop) and cutting out the middle leaves (0.875 for ImageNet).
    """

    resolution: int
    crop: float | None = None

    def boxes(self, uniforms: None, heights: tf.Tensor, widths: tf.Tensor) -> tf.Tensor:
        """Float32 [n, 4] (top, left, height, width) in pixels, for images of the given sizes."""
        del uniforms
        if self.crop is None:
            zeros = tf.zeros_like(heights)
            return tf.stack([zeros, zeros, heights, widths], axis=-1)
        share = self.resolution / math.ceil(self.resolution / self.crop)
        side = tf.minimum(heights, widths) * share
        return tf.stack([(heights - side) / 2, (widths - side) / 2, side, side], axis=-1)


@dataclasses.dataclass(frozen=True)
class RandomRegion:
    """A random box of random aspect ratio: the "random resized crop" of torchvision.

    Attributes:
      area: Smallest and largest share of the area of the image.
    """

    area: tuple[float, float]

    def boxes(self, uniforms: tf.Tensor, heights: tf.Tensor, widths: tf.Tensor) -> tf.Tensor:
        """Float32 [n, 4] (top, left, height, width), whole pixels.

        Args:
          uniforms: float32 [n, ATTEMPTS, 4] in [0, 1).
          heights: float32 [n], of the images.
          widths: float32 [n].
        """
        heights, widths = heights[:, None], widths[:, None]
        area = heights * widths * _between(uniforms[..., 0], self.area)
        log_ratios = (math.log(ASPECT_RATIOS[0]), math.log(ASPECT_RATIOS[1]))
        ratio = tf.exp(_between(uniforms[..., 1], log_ratios))
        box_heights = tf.maximum(tf.round(tf.sqrt(area / ratio)), 1.0)
        box_widths = tf.maximum(tf.round(tf.sqrt(area * ratio)), 1.0)
        tops = tf.floor(uniforms[..., 2] * (heights - box_heights + 1))
        lefts = tf.floor(uniforms[..., 3] * (widths - box_widths + 1))
        drawn = tf.stack([tops, lefts, box_heights, box_widths], axis=-1)
        fits = (box_heights <= heights) & (box_widths <= widths)
        first = tf.argmax(fits, axis=1)
        chosen = tf.gather(drawn, first, axis=1, batch_dims=1)
        middle = _middle_box(heights[:, 0], widths[:, 0])
        return tf.where(tf.reduce_any(fits, axis=1)[:, None], chosen, middle)


def resample(images: tf.Tensor, boxes: tf.Tensor, resolution: int) -> tf.Tensor:
    """Cuts a box out of each image and resizes it bilinearly, averaging where it shrinks.

    The same as `tf.image.resize(antialias=True)` of the boxes, except that pixels around a box
    count at its edges. Two batched matrix products, one per axis.

    Args:
      images: float32 [n, height, width, channels].
      boxes: float32 [n or 1, 4] (top, left, height, width) in pixels.
      resolution: Height and width of the result.

    Returns:
      float32 [n, resolution, resolution, channels].
    """
    _, height, width, channels = images.shape
    rows = _weights(boxes[:, 0], boxes[:, 2], height, resolution)
    columns = _weights(boxes[:, 1], boxes[:, 3], width, resolution)
    narrow = rows @ tf.reshape(images, [-1, height, width * channels])
    # Channels in front of columns, so that one product per image is left.
    narrow = tf.reshape(narrow, [-1, resolution, width, channels])
    narrow = tf.reshape(tf.transpose(narrow, [0, 1, 3, 2]), [-1, resolution * channels, width])
    small = tf.matmul(narrow, columns, transpose_b=True)
    small = tf.reshape(small, [-1, resolution, channels, resolution])
    small = tf.transpose(small, [0, 1, 3, 2])
    return tf.ensure_shape(small, [images.shape[0], resolution, resolution, channels])


def _weights(start: tf.Tensor, size: tf.Tensor, length: int, resolution: int) -> tf.Tensor:
    """float32 [n, resolution, length]: how much each pixel adds to each result."""
    scale = (size / resolution)[:, None]
    centres = start[:, None] + (tf.range(resolution, dtype=tf.float32) + 0.5) * scale
    pixels = tf.range(length, dtype=tf.float32) + 0.5
    distances = tf.abs(pixels - centres[..., None]) / tf.maximum(scale, 1.0)[..., None]
    weights = tf.maximum(1.0 - distances, 0.0)
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def _middle_box(heights: tf.Tensor, widths: tf.Tensor) -> tf.Tensor:
    """The largest box in the middle with an allowed aspect ratio."""
    box_heights = tf.minimum(heights, tf.round(widths / ASPECT_RATIOS[0]))
    box_widths = tf.minimum(widths, tf.round(heights * ASPECT_RATIOS[1]))
    tops = tf.floor((heights - box_heights) / 2)
    lefts = tf.floor((widths - box_widths) / 2)
    return tf.stack([tops, lefts, box_heights, box_widths], axis=-1)


def _between(uniforms: tf.Tensor, bounds: tuple[float, float]) -> tf.Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * uniforms
