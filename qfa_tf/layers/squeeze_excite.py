"""Squeeze-excite of a supernet: channels weighted by a small network on their means."""

import dataclasses

import numpy as np
import tensorflow as tf

from qfa_tf.layers.activations import extremes
from qfa_tf.layers.arithmetic import FastArithmetic
from qfa_tf.layers.execution import Channels, Execution
from quantize_configs.keras_backend import keras

PARTS = ("pool", "reduce", "expand", "gate", "scale")
"""What calibration records the extremes of, by the names of the layers of an extracted subnet."""


@dataclasses.dataclass(frozen=True)
class ExciteChoice:
    """What a genome chose for a squeeze-excite.

    Attributes:
      channels: That it weights.
      inner: Between the convolutions.
      execution: How tensors follow from them.
    """

    channels: Channels
    inner: Channels
    execution: Execution


class SqueezeExcite(keras.layers.Layer):
    """Mean over space, 1x1 convolution, ReLU, 1x1 convolution, hard sigmoid, product.

    In float at all bit-widths, as in QFA and OQA. The first channels are used, as everywhere.

    Args:
      width: Largest number of channels.
      squeeze_width: Largest number of channels between the convolutions.
      arithmetic: Of the supernet.
    """

    def __init__(
        self,
        width: int,
        squeeze_width: int,
        arithmetic: FastArithmetic = FastArithmetic(),  # noqa: B008, it has no state
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.arithmetic = arithmetic
        self.width = width
        self.squeeze_width = squeeze_width

    def build(self, input_shape=None):
        """Creates the weights: kernels normal by fan-out, biases 0."""

        def kernel(name, rows, columns):
            deviation = np.sqrt(2.0 / columns)
            initializer = keras.initializers.RandomNormal(stddev=deviation)
            return self.add_weight(name=name, shape=(rows, columns), initializer=initializer)

        def bias(name, size):
            return self.add_weight(name=name, shape=(size,), initializer="zeros")

        self.reduce_kernel = kernel("reduce_kernel", self.width, self.squeeze_width)
        self.reduce_bias = bias("reduce_bias", self.squeeze_width)
        self.expand_kernel = kernel("expand_kernel", self.squeeze_width, self.width)
        self.expand_bias = bias("expand_bias", self.width)
        super().build(input_shape)

    @property
    def decayed_weights(self) -> list[tf.Variable]:
        """The weights that weight decay applies to."""
        return [self.reduce_kernel, self.expand_kernel]

    def call(self, x, choice: ExciteChoice, record: bool = False):
        """Weights the channels of x.

        Args:
          x: [N, H, W, C] with the channels of the choice.
          choice: Of a genome.
          record: Whether to return extremes.

        Returns:
          (output, recorded): float32 [2] extremes by `PARTS`, or an empty dict.
        """
        take, outer, inner = choice.execution.take, choice.channels, choice.inner
        weights = (
            take(tf.convert_to_tensor(self.reduce_kernel), {0: outer, 1: inner}),
            take(tf.convert_to_tensor(self.reduce_bias), {0: inner}),
            take(tf.convert_to_tensor(self.expand_kernel), {0: inner, 1: outer}),
            take(tf.convert_to_tensor(self.expand_bias), {0: outer}),
        )
        first, first_bias, second, second_bias = (tf.cast(value, x.dtype) for value in weights)
        pool = self.arithmetic.spatial_mean(x)
        reduce = tf.nn.relu(tf.matmul(pool, first) + first_bias)
        expand = tf.matmul(reduce, second) + second_bias
        gate = self.arithmetic.activations["hard_sigmoid"](expand)
        scale = x * gate[:, None, None, :]
        if not record:
            return scale, {}
        values = dict(zip(PARTS, (pool, reduce, expand, gate, scale), strict=True))
        counted = dict.fromkeys(PARTS, outer.active) | {"reduce": inner.active}
        return scale, {part: extremes(value, counted[part]) for part, value in values.items()}
