"""Activation functions of a supernet."""

import tensorflow as tf

from quantize_configs.native.deferred import DeferredMap
from quantize_configs.range_estimation import extremes_over


def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """relu6(x + 3) / 6 (MobileNetV3, https://arxiv.org/abs/1905.02244, section 5.2)."""
    return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def hard_swish(x: tf.Tensor) -> tf.Tensor:
    """x relu6(x + 3) / 6 (MobileNetV3, section 5.2)."""
    return x * hard_sigmoid(x)


def extremes(x: tf.Tensor | DeferredMap, active: tf.Tensor | None = None) -> tf.Tensor:
    """(smallest, largest) value of a tensor [..., C], float32 [2]; without gradients.

    Args:
      x: The tensor, or one that is not computed yet, of which all channels count.
      active: bool [C], which channels count; None for all.
    """
    return tf.cast(tf.stack(extremes_over(x, None, active)), tf.float32)


ACTIVATIONS = {
    "linear": tf.identity,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish,
    "sigmoid": tf.nn.sigmoid,
    "swish": tf.nn.silu,
    "tanh": tf.nn.tanh,
    "gelu": tf.nn.gelu,
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
}
"""By name, all of `qfa_tf.network.nodes.FUNCTIONS` that have no other parameter."""
