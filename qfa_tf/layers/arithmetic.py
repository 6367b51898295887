"""What a supernet computes beside matrix products, in one of several arithmetics.

`FastArithmetic` takes the fewest passes over a tensor. `PlainArithmetic` has operators that XLA
compiles as they are meant. `ReleaseArithmetic` does the float32
operations of the official QFA release in its order, for supernets with fractional zero points,
which reproduce the paper to the letter: quantization makes a network chaotic, so that results
agree as a whole or not at all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from qfa_tf.layers.activations import ACTIVATIONS
from qfa_tf.layers.depthwise import depthwise_convolution
from quantize_configs.fractional_quantization import divide_by_constant
from quantize_configs.native.deferred import DeferredMap
from quantize_configs.native.operators import (
    FUSED_ACTIVATIONS,
    NativeOperators,
    native_operators,
)
from quantize_configs.ordered_sums import ordered_channel_means, ordered_spatial_means

CONSTANT = 1e-8
"""A channel with less variance is constant but for rounding."""
SMALLEST_EPSILON = 1.001e-5
"""Of the fused operator: what cuDNN asks for."""


class FastArithmetic:
    """The arithmetic of supernets with integer zero points."""

    activations: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = ACTIVATIONS

    def normalize_batch(self, x, gamma, beta, epsilon: float, biased: bool, stop_constant: bool):
        """Batch normalization with the statistics of the batch.

        Few bits round whole channels to one code. Their variance is exactly 0, and normalization
        hands straight-through gradients on that it has multiplied by 1 / sqrt(epsilon).

        Args:
          x: [N, H, W, C].
          gamma: float32 [C].
          beta: float32 [C].
          epsilon: Added to the variance.
          biased: Whether the variance that is returned must be the biased one.
          stop_constant: Whether channels with a variance below 1e-8 pass no gradient to x.

        Returns:
          (output, mean, variance).
        """
        epsilon = max(epsilon, SMALLEST_EPSILON)

        @tf.custom_gradient
        def normalized(x, gamma, beta):
            x, gamma, beta = tf.identity(x), tf.identity(gamma), tf.identity(beta)
            y, mean, variance, *reserved = tf.raw_ops.FusedBatchNormV3(
                x=x,
                scale=gamma,
                offset=beta,
                mean=tf.zeros([0]),
                variance=tf.zeros([0]),
                epsilon=epsilon,
                exponential_avg_factor=1.0,
                is_training=True,
            )

            def gradient(upstream, *_):
                # The gradient of x is proportional to the gain, the two others do not see it.
                gain = tf.where(variance < CONSTANT, 0.0, gamma) if stop_constant else gamma
                return fused_gradient(upstream, x, gain, reserved, epsilon)

            return (y, mean, variance), gradient

        x, mean, variance = normalized(x, gamma, beta)
        mean, variance = tf.stop_gradient(mean), tf.stop_gradient(variance)
        if not biased:
            return x, mean, variance
        # The operator returns the unbiased variance; the graph and the paper use the biased one.
        count = tf.cast(tf.size(x) // tf.shape(gamma)[0], tf.float32)
        return x, mean, variance * (count - 1.0) / count

    def normalize_and_activate(
        self, x, gamma, beta, epsilon: float, stop_constant: bool, activation: str
    ):
        """`normalize_batch` without its statistics, and an activation, one of `activations`."""
        y, _, _ = self.normalize_batch(x, gamma, beta, epsilon, False, stop_constant)
        return self.activations[activation](y)

    def defer_normalization(
        self, x, gamma, beta, epsilon: float, stop_constant: bool, activation: str
    ) -> tf.Tensor | DeferredMap:
        """`normalize_and_activate` for a reader that quantizes the result by its range."""
        return self.normalize_and_activate(x, gamma, beta, epsilon, stop_constant, activation)

    def convolve_depthwise(
        self, x, kernel, stride: int, padding: str, kernel_sizes: Sequence[int]
    ) -> tf.Tensor:
        """See `depthwise_convolution`; in training alone."""
        return depthwise_convolution(x, kernel, stride, padding, kernel_sizes)

    def multiply_channels(self, x, matrix, inputs: Any, outputs: Any) -> tf.Tensor:
        """The channels of each place times a matrix.

        Args:
          x: [..., C].
          matrix: [C, D].
          inputs: C, int32 [1].
          outputs: D, int32 [1].
        """
        outer = tf.shape(x)[:-1]
        rows = tf.reshape(x, tf.concat([[-1], inputs], 0))
        return tf.reshape(tf.matmul(rows, matrix), tf.concat([outer, outputs], 0))

    def normalize(self, x, mean, variance, gamma, beta, epsilon: float):
        """Batch normalization with given statistics, float32 [C]."""
        mean, variance, gamma, beta = (
            tf.cast(value, x.dtype) for value in (mean, variance, gamma, beta)
        )
        scale, offset = _scale_and_offset(mean, variance, gamma, beta, epsilon)
        return x * scale + offset

    def normalize_by(
        self, x, statistics, gamma, beta, epsilon: float, activation: str
    ) -> tf.Tensor | DeferredMap:
        """`normalize` and an activation, for a reader that may quantize the result by its range.

        Args:
          x: [N, H, W, C].
          statistics: Mean and variance, float32 [C] each.
          gamma: float32 [C].
          beta: float32 [C].
          epsilon: Added to the variance.
          activation: One of `activations`.
        """
        mean, variance = statistics
        return self.activate(self.normalize(x, mean, variance, gamma, beta, epsilon), activation)

    def activate(self, x, activation: str) -> tf.Tensor | DeferredMap:
        """An activation without gradients, for a reader that may quantize the result."""
        return self.activations[activation](x)

    def spatial_mean(self, x):
        """[N, C] from [N, H, W, C]."""
        return tf.reduce_mean(x, [1, 2])


class NativeArithmetic(FastArithmetic):
    """The same, by native kernels where a graph is traced that is to use them."""

    def normalize_and_activate(self, x, gamma, beta, epsilon, stop_constant, activation):
        """See `FastArithmetic.normalize_and_activate`."""
        native = _native_for(x, activation)
        if native is None:
            return super().normalize_and_activate(
                x, gamma, beta, epsilon, stop_constant, activation
            )
        epsilon = max(epsilon, SMALLEST_EPSILON)
        return native.normalize(x, gamma, beta, epsilon, activation, stop_constant)

    def defer_normalization(self, x, gamma, beta, epsilon, stop_constant, activation):
        """See `FastArithmetic.defer_normalization`."""
        native = _native_for(x, activation)
        if native is None:
            return super().defer_normalization(x, gamma, beta, epsilon, stop_constant, activation)
        epsilon = max(epsilon, SMALLEST_EPSILON)
        return native.defer_normalization(x, gamma, beta, epsilon, activation, stop_constant)

    def normalize_by(self, x, statistics, gamma, beta, epsilon, activation):
        """See `FastArithmetic.normalize_by`."""
        native = _native_for(x, activation)
        if native is None:
            return super().normalize_by(x, statistics, gamma, beta, epsilon, activation)
        mean, variance = statistics
        scale, offset = _scale_and_offset(mean, variance, gamma, beta, epsilon)
        return native.scale(x, scale, offset, activation)

    def activate(self, x, activation):
        """See `FastArithmetic.activate`."""
        native = _native_for(x, activation)
        if native is None or activation == "linear":
            return super().activate(x, activation)
        width = tf.shape(x)[-1:]
        return native.scale(x, tf.ones(width), tf.fill(width, -0.0), activation)  # all bits stay

    def multiply_channels(self, x, matrix, inputs, outputs):
        """See `FastArithmetic.multiply_channels`."""
        native = _native_for(x)
        if native is None:
            return super().multiply_channels(x, matrix, inputs, outputs)
        return native.multiply_channels(x, matrix)

    def convolve_depthwise(self, x, kernel, stride, padding, kernel_sizes):
        """See `FastArithmetic.convolve_depthwise`."""
        native = _native_for(x)
        if native is None:
            return super().convolve_depthwise(x, kernel, stride, padding, kernel_sizes)
        return native.convolve_depthwise(x, kernel, stride, padding)


def _native_for(x: tf.Tensor, activation: str = "linear") -> NativeOperators | None:
    """The native operators for a map and its activation; None where there are none."""
    usable = x.dtype == tf.float32 and activation in FUSED_ACTIVATIONS
    return native_operators() if usable else None


class PlainArithmetic(FastArithmetic):
    """The same by plain operators, for static shapes.

    XLA's own normalization takes the variance as a difference of squares, which loses channels that
    are constant but for rounding.
    """

    def normalize_batch(self, x, gamma, beta, epsilon, biased, stop_constant):
        """See `FastArithmetic.normalize_batch`; the variance is always the biased one."""

        def moments(x):
            mean = tf.reduce_mean(x, [0, 1, 2])
            return mean, tf.reduce_mean(tf.math.squared_difference(x, mean), [0, 1, 2])

        epsilon = max(epsilon, SMALLEST_EPSILON)
        return _normalize_by_moments(x, gamma, beta, epsilon, stop_constant, moments)


class ReleaseArithmetic(FastArithmetic):
    """The arithmetic of the official release: PyTorch's on a CPU.

    Square roots and convolutions may still differ in the last bit between processors.
    """

    def __init__(self):
        self.activations = {
            **ACTIVATIONS,
            "hard_sigmoid": lambda x: divide_by_constant(tf.nn.relu6(x + 3.0), 6.0),
            "hard_swish": lambda x: divide_by_constant(x * tf.nn.relu6(x + 3.0), 6.0),
        }

    def normalize_batch(self, x, gamma, beta, epsilon, biased, stop_constant):
        """See `FastArithmetic.normalize_batch`; the variance is always the biased one."""

        def moments(x):
            variance = tf.math.reduce_variance(tf.cast(x, tf.float64), [0, 1, 2])
            return ordered_channel_means(x), tf.cast(variance, tf.float32)

        return _normalize_by_moments(x, gamma, beta, epsilon, stop_constant, moments)

    def normalize(self, x, mean, variance, gamma, beta, epsilon):
        """See `FastArithmetic.normalize`."""
        y = (tf.cast(x, tf.float32) - mean) / tf.sqrt(variance + epsilon) * gamma + beta
        return tf.cast(y, x.dtype)

    def spatial_mean(self, x):
        """See `FastArithmetic.spatial_mean`: the mean over rows of the means over columns."""

        @tf.custom_gradient
        def mean(x):
            shape = tf.shape(x)

            def gradient(upstream):
                share = upstream / tf.cast(shape[1] * shape[2], upstream.dtype)
                return tf.broadcast_to(share[:, None, None, :], shape)

            return ordered_spatial_means(x), gradient

        return tf.cast(mean(tf.cast(x, tf.float32)), x.dtype)


def _scale_and_offset(mean, variance, gamma, beta, epsilon: float) -> tuple[tf.Tensor, tf.Tensor]:
    """What normalization multiplies with, and what it adds then."""
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    return scale, beta - mean * scale


def _normalize_by_moments(x, gamma, beta, epsilon: float, stop_constant: bool, moments):
    """Normalization in float32, each operation written out.

    Args:
      x: [N, H, W, C].
      gamma: float32 [C].
      beta: float32 [C].
      epsilon: Added to the variance.
      stop_constant: See `FastArithmetic.normalize_batch`.
      moments: From x to its means and biased variances, float32 [C].

    Returns:
      (output, mean, variance).
    """

    @tf.custom_gradient
    def normalized(x, gamma, beta):
        x, gamma, beta = tf.identity(x), tf.identity(gamma), tf.identity(beta)
        mean, variance = moments(x)
        deviation = tf.sqrt(variance + epsilon)
        standard = (x - mean) / deviation

        def gradient(upstream, *_):
            count = tf.cast(tf.size(x) // tf.shape(gamma)[0], tf.float32)
            to_gamma = tf.reduce_sum(upstream * standard, [0, 1, 2])
            to_beta = tf.reduce_sum(upstream, [0, 1, 2])
            centred = upstream - to_beta / count - standard * (to_gamma / count)
            gain = tf.where(variance < CONSTANT, 0.0, gamma) if stop_constant else gamma
            return centred * (gain / deviation), to_gamma, to_beta

        return (standard * gamma + beta, mean, variance), gradient

    y, mean, variance = normalized(tf.cast(x, tf.float32), gamma, beta)
    return tf.cast(y, x.dtype), tf.stop_gradient(mean), tf.stop_gradient(variance)


def fused_gradient(upstream, x, scale, reserved, epsilon: float):
    """Gradients of `FusedBatchNormV3` in training: of x, of the scale and of the offset.

    One at a time in a process: oneDNN's kernel corrupts memory as soon as two run at once on
    changing shapes (TensorFlow 2.21; scripts/stress_normalization.py).

    Args:
      upstream: Gradient of the output, [N, H, W, C].
      x: What was normalized.
      scale: float32 [C].
      reserved: The three reserved outputs of the operator.
      epsilon: Of the operator.
    """
    mean, variance, third = reserved
    mutex = tf.raw_ops.MutexV2(container="", shared_name="qfa_tf_normalization_gradient")
    with tf.control_dependencies([upstream]):  # who holds the lock must not wait for another one
        lock = tf.raw_ops.MutexLock(mutex=mutex)
    with tf.control_dependencies([lock]):
        upstream = tf.identity(upstream)
    to_x, to_scale, to_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
        y_backprop=upstream,
        x=x,
        scale=scale,
        reserve_space_1=mean,
        reserve_space_2=variance,
        reserve_space_3=third,
        epsilon=epsilon,
        is_training=True,
    )
    with tf.control_dependencies([to_x]):
        released = tf.raw_ops.ConsumeMutexLock(mutex_lock=lock)
    with tf.control_dependencies([released]):
        return tf.identity(to_x), tf.identity(to_scale), tf.identity(to_offset)


def arithmetic_of(zero_point: str, has_static_shapes: bool = False) -> FastArithmetic:
    """The arithmetic of a supernet.

    Args:
      zero_point: See `BatchQuantizer`.
      has_static_shapes: Whether XLA may compile it.
    """
    if zero_point == "fractional":
        return ReleaseArithmetic()
    if has_static_shapes:
        return PlainArithmetic()
    return NativeArithmetic()
