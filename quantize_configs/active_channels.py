"""Reductions over tensors of which some channels do not count.

Such channels belong to a supernet's widest subnet and not to the one at hand. They hold zeros,
which extremes and means of the others must not see.
"""

import tensorflow as tf


def smallest_and_largest(
    x: tf.Tensor, axes: list[int] | None, active: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Smallest and largest values over some axes.

    Args:
      x: [..., C].
      axes: Not negative; None for all.
      active: bool [C], which channels count; None for all. Where the channels are none of the axes,
        those that do not count keep what they hold.
    """
    if active is None:
        return tf.reduce_min(x, axes), tf.reduce_max(x, axes)
    channel = x.shape.rank - 1
    axes = list(range(channel + 1)) if axes is None else axes
    others = [axis for axis in axes if axis != channel]
    low, high = tf.reduce_min(x, others), tf.reduce_max(x, others)
    if channel not in axes:
        return low, high
    # Few numbers are left by now.
    low = tf.where(active, low, x.dtype.max)
    high = tf.where(active, high, x.dtype.min)
    return tf.reduce_min(low, -1), tf.reduce_max(high, -1)


def mean_of_active(values: tf.Tensor, active: tf.Tensor | None) -> tf.Tensor:
    """Mean of [C] values, of those that count."""
    if active is None:
        return tf.reduce_mean(values)
    kept = tf.where(active, values, tf.zeros_like(values))
    return tf.reduce_sum(kept) / tf.cast(count_of_active(active), values.dtype)


def count_of_active(active: tf.Tensor) -> tf.Tensor:
    """How many channels count, int32 scalar."""
    return tf.reduce_sum(tf.cast(active, tf.int32))
