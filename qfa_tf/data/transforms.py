"""The random changes of a batch of training images."""

from collections.abc import Callable

import tensorflow as tf

from qfa_tf.data.augmentation import Augmentation

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in torchvision and Pillow

Draw = Callable[..., tf.Tensor]
"""draw(stream, shape, **kwargs) -> stateless uniforms [n, *shape] of the batch."""

CROP_STREAM, SHIFT_STREAM, FLIP_STREAM, COLOUR_STREAM = 0, 1, 2, 3
"""Numbers of the streams of randomness; the order of the images has another one."""


def transform(images: tf.Tensor, augmentation: Augmentation, draw: Draw) -> tf.Tensor:
    """Flips, shifts and recolours images, float32 [n, height, width, channels] in [0, 1]."""
    if augmentation.flip:
        mirrored = draw(FLIP_STREAM, [1, 1, 1]) < 0.5
        images = tf.where(mirrored, tf.reverse(images, axis=[2]), images)
    if augmentation.max_shift:
        images = _shift(images, augmentation.max_shift, draw)
    return _recolour(images, augmentation, draw)


def _shift(images: tf.Tensor, most: int, draw: Draw) -> tf.Tensor:
    size = images.shape[1]
    padded = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]], "SYMMETRIC")
    offsets = draw(SHIFT_STREAM, [2], minval=0, maxval=2 * most + 1, dtype=tf.int32)
    rows = offsets[:, :1] + tf.range(size)
    columns = offsets[:, 1:] + tf.range(size)
    moved = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.ensure_shape(tf.gather(moved, columns, axis=2, batch_dims=1), images.shape)


def _recolour(images: tf.Tensor, augmentation: Augmentation, draw: Draw) -> tf.Tensor:
    """Brightness, contrast and saturation, in this order, each clipped to [0, 1]."""
    strengths = (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    if not any(strengths):
        return images
    factors = 1.0 + draw(COLOUR_STREAM, [3, 1, 1, 1], minval=-1.0, maxval=1.0) * tf.reshape(
        tf.constant(strengths, tf.float32), [3, 1, 1, 1]
    )
    if augmentation.brightness:
        images = _blend(images, 0.0, factors[:, 0])
    if augmentation.contrast:
        mean = tf.reduce_mean(_grey(images), axis=[1, 2], keepdims=True)
        images = _blend(images, mean, factors[:, 1])
    if augmentation.saturation:
        images = _blend(images, _grey(images), factors[:, 2])
    return images


def _blend(images: tf.Tensor, other: tf.Tensor | float, factors: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(other + factors * (images - other), 0.0, 1.0)


def _grey(images: tf.Tensor) -> tf.Tensor:
    """float32 [n, height, width, 1]."""
    if images.shape[-1] != 3:
        return tf.reduce_mean(images, axis=-1, keepdims=True)
    return tf.reduce_sum(images * tf.constant(_GREY), axis=-1, keepdims=True)
