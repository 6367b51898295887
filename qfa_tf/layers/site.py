"""One site of a supernet: quantized input, quantized elastic weight, normalization, activation."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qfa_tf.layers.kernel_transform import KernelTransform, pad_to
from qfa_tf.layers.statistics import Mode
from quantize_configs import BatchQuantizer, LSQQuantizer
from quantize_configs.fake_quantization import FLOAT_BITS
from quantize_configs.keras_backend import keras

ACTIVATIONS = {"linear": tf.identity, "relu": tf.nn.relu, "relu6": tf.nn.relu6}
SMALLEST_GAMMA = 1e-3


class AtLeast(keras.constraints.Constraint):
    """Keeps a weight at or above a bound.

    Normalization gains stay positive, so that folding them into integer weights never flips the
    sign of a row (a flipped grid would not fit 2 or 4 bits).
    """

    def __init__(self, bound: float):
        self.bound = bound

    def __call__(self, weight):
        """The clipped weight."""
        return tf.maximum(weight, self.bound)

    def get_config(self):
        """Constructor arguments."""
        return {"bound": self.bound}


@dataclasses.dataclass(frozen=True)
class SiteChoice:
    """What a genome chose for a site; each value a Python int or an int32 scalar tensor.

    Attributes:
      weight_bits: 2, 3, 4, 8 or 32.
      activation_bits: The same, for the input.
      output_width: Active output channels.
      kernel_size: Kernel of a depthwise site; other sites have one kernel size.
    """

    weight_bits: Any
    activation_bits: Any
    output_width: Any
    kernel_size: Any = None


class ElasticSite(keras.layers.Layer):
    """Convolution of a supernet with everything that belongs to its site.

    The input is quantized by BatchQuant, the full weight by LSQ and then sliced to the active
    channels. The input width is that of the tensor it is given.

    Args:
      kind: "convolution" (any kernel), "pointwise", "depthwise" or "dense" (a 1x1 convolution on
        a 1x1 map).
      input_width: Largest number of input channels.
      output_width: Largest number of output channels.
      kernel_sizes: Ascending; more than one only for "depthwise".
      stride: Of the convolution.
      activation: "linear", "relu" or "relu6".
      normalization: Whether batch normalization follows.
      use_bias: Whether a bias is added (without normalization).
      weight_bits: Bit-widths of the weight; 32 is allowed besides. (32,) for a float site.
      activation_bits: Bit-widths of the input; 32 is allowed besides.
      zero_point: See `BatchQuantizer`.
      estimator: See `BatchQuantizer`.
      epsilon: Of the normalization.
    """

    def __init__(
        self,
        kind: str,
        input_width: int,
        output_width: int,
        kernel_sizes: Sequence[int],
        *,
        weight_bits: Sequence[int],
        activation_bits: Sequence[int],
        stride: int = 1,
        activation: str = "linear",
        normalization: bool = True,
        use_bias: bool = False,
        zero_point: str = "integer",
        estimator: str = "channel_mean",
        epsilon: float = 1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.kind = kind
        self.input_width = input_width
        self.output_width = output_width
        self.kernel_sizes = tuple(kernel_sizes)
        self.stride = stride
        self.activation = activation
        self.normalization = normalization
        self.use_bias = use_bias
        self.epsilon = epsilon
        banks = len(self.kernel_sizes)
        self.weight_quantizer = self.activation_quantizer = None
        if tuple(weight_bits) != (FLOAT_BITS,):
            self.weight_quantizer = LSQQuantizer(_with_float(weight_bits), banks=banks)
        if tuple(activation_bits) != (FLOAT_BITS,):
            self.activation_quantizer = BatchQuantizer(
                _with_float(activation_bits),
                zero_point=zero_point,
                estimator=estimator,
                banks=banks,
            )

    def build(self, input_shape=None):
        """Creates the weights; initial kernels as in Once-for-All."""
        size = self.kernel_sizes[-1]
        if self.kind == "depthwise":
            shape = (size, size, self.output_width, 1)
        else:
            shape = (size, size, self.input_width, self.output_width)
        # Normalization turns the norm of a weight into a learning rate, so the fan-out rule with
        # all channels, also for depthwise kernels, is part of the recipe.
        deviation = np.sqrt(2.0 / (size * size * self.output_width))
        self.kernel = self.add_weight(
            name="kernel",
            shape=shape,
            initializer=keras.initializers.RandomNormal(stddev=deviation),
        )
        self.transform = KernelTransform(self, self.kernel_sizes)
        if self.normalization:
            self.gamma = self.add_weight(
                name="gamma",
                shape=(self.output_width,),
                initializer="ones",
                constraint=AtLeast(SMALLEST_GAMMA),
            )
            self.beta = self.add_weight(
                name="beta", shape=(self.output_width,), initializer="zeros"
            )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.output_width,), initializer="zeros"
            )
        self.weight_variables = self.activation_variables = {}
        if self.weight_quantizer is not None:
            self.weight_variables = self.weight_quantizer.build(shape, "kernel", self)
            self.reset_steps()
        if self.activation_quantizer is not None:
            self.activation_variables = self.activation_quantizer.build_learned("input", self)
        super().build(input_shape)

    def reset_steps(self) -> None:
        """Starts all weight steps anew from the kernels as they are (LSQ's initial value)."""
        steps = [
            self.weight_quantizer.initial_steps(self.transform(self.kernel, size).numpy())
            for size in self.kernel_sizes
        ]
        self.weight_variables["step"].assign(np.concatenate(steps))

    @property
    def decayed_weights(self) -> list[tf.Variable]:
        """The weights that weight decay applies to."""
        return [self.kernel, *self.transform.matrices.values()]

    def call(self, x, choice: SiteChoice, mode: Mode, stored=None):
        """Runs the site for one choice.

        Args:
          x: [N, H, W, C] with any C up to the largest input width.
          choice: Bits, width and kernel.
          mode: Where statistics come from.
          stored: In FROZEN mode, a function that reads the entry `range`, `mean` or `variance`.

        Returns:
          (output, recorded): the activation map, and in CALIBRATE mode a dict with the entries
          `range`, `mean`, `variance`, `output` (empty otherwise).
        """
        bank = self._bank(choice.kernel_size)
        recorded = {}
        low = high = tf.zeros([])
        if self.activation_quantizer is not None:
            if mode is Mode.FROZEN:
                low, high = tf.unstack(stored("range"))
            else:
                low, high = self.activation_quantizer.batch_range(x)
            x = self.activation_quantizer.quantize(
                x, low, high, self.activation_variables, choice.activation_bits, bank
            )
        x = self._convolve(x, self._quantized_kernel(choice, bank), choice.output_width)
        if self.normalization:
            x, mean, variance = self._normalize(x, mode, stored)
        elif self.use_bias:
            x += tf.cast(self.bias[: choice.output_width], x.dtype)
        x = ACTIVATIONS[self.activation](x)
        if mode is Mode.CALIBRATE:
            recorded["range"] = tf.stack([low, high])
            recorded["output"] = extremes(x)
            if self.normalization:
                recorded |= {"mean": mean, "variance": variance}
        return x, recorded

    def _bank(self, kernel_size):
        """Index of the kernel size, which has steps and offsets of its own."""
        if len(self.kernel_sizes) == 1:
            return 0
        return tf.argmax(tf.equal(kernel_size, list(self.kernel_sizes)), output_type=tf.int32)

    def _quantized_kernel(self, choice, bank) -> tf.Tensor:
        """The full kernel at its largest size; smaller kernels stand in the middle of zeros."""
        kernel = tf.convert_to_tensor(self.kernel)
        elements = None
        if len(self.kernel_sizes) > 1:
            largest = self.kernel_sizes[-1]
            for size in self.kernel_sizes[:-1]:
                smaller = pad_to(self.transform(tf.convert_to_tensor(self.kernel), size), largest)
                kernel = tf.where(tf.equal(choice.kernel_size, size), smaller, kernel)
            elements = choice.kernel_size**2 * self.output_width
        if self.weight_quantizer is None:
            return kernel
        return self.weight_quantizer(
            kernel, True, self.weight_variables, choice.weight_bits, bank, elements
        )

    def _convolve(self, x, kernel, width):
        kernel = tf.cast(kernel, x.dtype)
        strides = [1, self.stride, self.stride, 1]
        if self.kind == "depthwise":
            return tf.nn.depthwise_conv2d(x, kernel[:, :, : tf.shape(x)[-1]], strides, "SAME")
        kernel = kernel[:, :, : tf.shape(x)[-1], :width]
        return tf.nn.conv2d(x, kernel, strides, "SAME")

    def _normalize(self, x, mode, stored):
        width = tf.shape(x)[-1]
        gamma, beta = self.gamma[:width], self.beta[:width]
        if mode is Mode.FROZEN:
            mean, variance = stored("mean")[:width], stored("variance")[:width]
            mean, variance, gamma, beta = (
                tf.cast(value, x.dtype) for value in (mean, variance, gamma, beta)
            )
            scale = gamma * tf.math.rsqrt(variance + self.epsilon)
            return (x - mean) * scale + beta, mean, variance
        x, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, epsilon=self.epsilon, is_training=True
        )
        # The operator returns the unbiased variance; the graph and the paper use the biased one.
        count = tf.cast(tf.size(x) // width, tf.float32)
        return x, mean, variance * (count - 1.0) / count


def extremes(x: tf.Tensor) -> tf.Tensor:
    """(smallest, largest) value of a tensor, float32 [2]."""
    return tf.cast(tf.stack([tf.reduce_min(x), tf.reduce_max(x)]), tf.float32)


def _with_float(bits: Sequence[int]) -> tuple[int, ...]:
    return tuple(bits) if len(bits) == 1 else (*bits, FLOAT_BITS)
