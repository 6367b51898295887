"""Uniform random numbers that are the same with and without XLA."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_MANTISSA = (1 << 23) - 1
_ONE = 0x3F800000
"""The bits of 1.0 in float32."""


def stateless_uniform(shape: Sequence[Any], seed: tf.Tensor) -> tf.Tensor:
    """`tf.random.stateless_uniform` as TensorFlow computes it on a CPU, float32 in [0, 1).

    XLA makes the same random bits, but takes the upper ones of each number as its mantissa.

    Args:
      shape: Of the result.
      seed: int64 [2].
    """
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
    ordered = tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(bits, _MANTISSA), _ONE)
    return tf.bitcast(ordered, tf.float32) - 1.0
