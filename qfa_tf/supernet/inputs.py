"""What `fit` and `evaluate` are given, as the training step takes it."""

from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras

LARGEST_PIXEL = 16.0
"""Images beyond it were never scaled: standardized ones stay far below."""

_NO_LABELS = "Give labels, too: fit(images, labels), or batches of (images, labels)."

LABEL_MESSAGE = "Labels must be from 0 to"
PIXEL_MESSAGE = "Images must be floats of about 0 to 1, or uint8"


def as_images(images: Any, channels: int) -> tf.Tensor:
    """float32 [N, height, width, channels]: bytes divided by 255, other floats as they are.

    Raises:
      InvalidInputError: The shape or the type does not fit.
    """
    images = tf.convert_to_tensor(images)
    _require_images(images.shape, images.dtype, channels)
    images = tf.ensure_shape(images, [None, None, None, channels])
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    return tf.cast(images, tf.float32)


def as_labels(labels: Any, classes: int) -> tf.Tensor:
    """Integer labels, int32 [N], or shares of the classes, float32 [N, classes].

    Args:
      labels: Integers [N] or [N, 1], or one row per image of numbers that sum to one (one-hot or
        mixed).
      classes: Number of classes.

    Raises:
      InvalidInputError: They are neither.
    """
    labels = tf.convert_to_tensor(labels)
    _require_labels(labels.shape, labels.dtype, classes)
    rank, integers = labels.shape.rank, labels.dtype.is_integer
    if integers and rank in (None, 2) and (rank is None or labels.shape[1] is None):
        # Keras forgets the shape where labels of several shapes were given one after the other.
        return tf.cond(
            tf.size(labels) == tf.shape(labels)[0],
            lambda: _one_hot(tf.reshape(labels, [-1]), classes),
            lambda: tf.cast(tf.reshape(labels, [-1, classes]), tf.float32),
        )
    if integers and (rank == 1 or labels.shape[1] == 1):
        return tf.cast(tf.reshape(labels, [-1]), tf.int32)
    return tf.ensure_shape(tf.cast(labels, tf.float32), [None, classes])


def _one_hot(labels: tf.Tensor, classes: int) -> tf.Tensor:
    with tf.control_dependencies([check_labels(labels, classes)]):
        return tf.one_hot(labels, classes)


class ReadsLabels(Protocol):
    """What is asked of a `Task`."""

    def require(self, labels: Any) -> None:
        """Checks shapes and types of labels, or of their specification."""

    def read(self, labels: Any) -> tf.Tensor:
        """Labels as one tensor."""


def read_batch(
    data: Any, channels: int, task: ReadsLabels
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """(images, labels, weights or None) of a batch of `fit`, checked.

    Labels out of range and pixels of 0 to 255 end the step with an InvalidArgumentError, which
    `fit` turns into an InvalidInputError.

    Args:
      data: (images, labels) or (images, labels, weights [N]).
      channels: Of the images.
      task: What the labels are for.

    Raises:
      InvalidInputError: Shapes or types do not fit.
    """
    images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    if labels is None:
        raise InvalidInputError(_NO_LABELS)
    images, labels = as_images(images, channels), task.read(labels)
    with tf.control_dependencies([check_pixels(images)]):
        images = tf.identity(images)
    if weights is not None:
        weights = tf.ensure_shape(tf.cast(tf.reshape(weights, [-1]), tf.float32), [None])
    return images, labels, weights


def shares_of(labels: tf.Tensor, classes: int) -> tf.Tensor:
    """float32 [N, classes] of what `as_labels` returns."""
    return labels if labels.shape.rank == 2 else tf.one_hot(labels, classes)


def classes_of(labels: tf.Tensor) -> tf.Tensor:
    """int32 [N], the likeliest class, of what `as_labels` returns."""
    return tf.argmax(labels, -1, tf.int32) if labels.shape.rank == 2 else labels


def message_of(error: tf.errors.InvalidArgumentError) -> str | None:
    """The sentence of a check of `read_batch` in what TensorFlow raised; None for other errors."""
    for line in str(error).splitlines():
        for message in (LABEL_MESSAGE, PIXEL_MESSAGE):
            if message in line:
                parts = line[line.index(message) :].replace("[", "").replace("]", "")
                return " ".join(part.strip("'\"") for part in parts.split()) + "."
    return None


def check_pixels(images: tf.Tensor) -> tf.Operation | None:
    """An operation that fails where images were never scaled; outside a graph it is done at once.

    Raises:
      InvalidInputError: They were not, outside a graph.
    """
    if tf.executing_eagerly():  # in two passes, without an operator for each of these words
        values = images.numpy()
        largest = tf.constant(np.maximum(values.max(initial=0.0), -values.min(initial=0.0)))
    else:
        largest = tf.reduce_max(tf.abs(images))
    # Not `largest <= LARGEST_PIXEL`: what is not a number is the business of the training.
    return _ensure(
        tf.logical_not(largest > LARGEST_PIXEL),
        [f"{PIXEL_MESSAGE}; divide those of 0 to 255 by 255. Received values up to", largest],
    )


def _ensure(condition: tf.Tensor, sentence: list[str | tf.Tensor]) -> tf.Operation | None:
    """An operation of a graph that fails with the sentence; outside a graph it is done at once."""
    if not tf.executing_eagerly():
        return tf.debugging.Assert(condition, sentence)
    if not condition:
        raise InvalidInputError(
            " ".join(part if isinstance(part, str) else f"{part.numpy():g}" for part in sentence)
            + "."
        )
    return None


def check_labels(labels: tf.Tensor, classes: int) -> tf.Operation | None:
    """An operation that fails where what `as_labels` returned is out of range; see `check_pixels`.

    Raises:
      InvalidInputError: It is, outside a graph.
    """
    if labels.shape.rank == 2:
        sums = tf.reduce_sum(labels, -1)
        return _ensure(
            tf.reduce_all(tf.abs(sums - 1.0) < 1e-3),
            [
                f"{LABEL_MESSAGE} {classes - 1}, or rows that sum to 1. Received rows that sum to",
                tf.reduce_min(sums),
                "to",
                tf.reduce_max(sums),
            ],
        )
    low, high = tf.reduce_min(labels), tf.reduce_max(labels)
    return _ensure(
        tf.logical_and(low >= 0, high < classes),
        [f"{LABEL_MESSAGE} {classes - 1}. Received:", low, "to", high],
    )


def check_example(data: Any, channels: int, task: ReadsLabels) -> None:
    """Checks shapes and types of a batch, or of its specification, before any training.

    Args:
      data: As for `read_batch`; arrays, tensors or `tf.TensorSpec`.
      channels: Of the images.
      task: What the labels are for.

    Raises:
      InvalidInputError: They do not fit.
    """
    images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
    if labels is None:
        raise InvalidInputError(_NO_LABELS)
    _require_images(*type_of(images), channels)
    task.require(labels)


def require_labels(labels: Any, classes: int) -> None:
    """Checks shape and type of labels of classes, or of their specification.

    Raises:
      InvalidInputError: They do not fit.
    """
    _require_labels(*type_of(labels), classes)


def type_of(value: Any) -> tuple[tf.TensorShape, tf.DType]:
    """Shape and type of an array, a tensor or a `tf.TensorSpec`."""
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        value = np.asarray(value)
    return tf.TensorShape(value.shape), tf.as_dtype(value.dtype)


def _require_images(shape: tf.TensorShape, dtype: tf.DType, channels: int) -> None:
    last = shape[-1] if shape.rank else None
    fits = shape.rank is None or (shape.rank == 4 and last in (channels, None))
    if fits and (dtype.is_floating or dtype == tf.uint8):
        return
    advice = ""
    if shape.rank == 3 and channels == 1:
        advice = " Add the axis of the channel: images[..., None]."
    elif shape.rank == 4 and (last, channels) == (1, 3):
        advice = " Repeat the grey channel: np.repeat(images, 3, axis=-1)."
    elif not fits and shape.rank == 4:
        advice = f" The space has input_channels={channels}: convert them, or take another space."
    raise InvalidInputError(
        "Images must be float32 (or uint8, which is divided by 255) with the shape "
        f"[N, height, width, {channels}]. Received: {dtype.name} {_text(shape)}.{advice}"
    )


def _require_labels(shape: tf.TensorShape, dtype: tf.DType, classes: int) -> None:
    integers = dtype.is_integer and (shape.rank in (1, None) or shape.as_list()[1:] == [1])
    rows = shape.rank == 2 and shape[1] in (classes, None)
    if integers or rows:
        return
    advice = " Whole numbers: labels.astype('int32')." if shape.rank == 1 else ""
    raise InvalidInputError(
        f"Labels must be integers [N], or one-hot [N, {classes}]. Received: {dtype.name} "
        f"{_text(shape)}.{advice}"
    )


def _text(shape: tf.TensorShape) -> str:
    return "of unknown shape" if shape.rank is None else str(shape.as_list())
