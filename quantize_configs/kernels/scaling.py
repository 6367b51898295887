"""Products of integers with multipliers of 31 bits, in TensorFlow; see `multipliers`."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

Integers = np.ndarray | np.int64
Scaling = Callable[[tf.Tensor, Integers, Integers], tf.Tensor]
"""From int64 values, q and e to the rounded products, int64."""


def half_up(values: tf.Tensor, multiplier: Integers, exponent: Integers) -> tf.Tensor:
    """values * q * 2**(e - 31), both roundings half up: int64 in and out, broadcast."""
    high, right = _high_product(values, multiplier, exponent)
    return tf.bitwise.right_shift(high + ((1 << right) >> 1), tf.constant(right, tf.int64))


def half_away(values: tf.Tensor, multiplier: Integers, exponent: Integers) -> tf.Tensor:
    """As `half_up`, but the second rounding has ties away from zero."""
    high, right = _high_product(values, multiplier, exponent)
    mask = (np.int64(1) << right) - 1
    rest = tf.bitwise.bitwise_and(high, tf.constant(mask, tf.int64))
    threshold = (mask >> 1) + tf.cast(high < 0, tf.int64)
    shifted = tf.bitwise.right_shift(high, tf.constant(right, tf.int64))
    return shifted + tf.cast(rest > threshold, tf.int64)


def _high_product(values, multiplier, exponent):
    """(values * 2**max(e, 0) * q * 2**-31, half up; max(-e, 0))."""
    left = np.int64(1) << np.maximum(exponent, 0)
    product = tf.cast(values, tf.int64) * (left * np.asarray(multiplier, np.int64)) + (1 << 30)
    high = tf.bitwise.right_shift(product, tf.constant(31, tf.int64))
    return high, np.maximum(-np.asarray(exponent, np.int64), 0)
