"""One site of a supernet: quantized input, quantized elastic weight, normalization, activation."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qfa_tf.layers.activations import extremes
from qfa_tf.layers.arithmetic import FastArithmetic, arithmetic_of
from qfa_tf.layers.depthwise import depthwise_convolution
from qfa_tf.layers.execution import Channels, Execution
from qfa_tf.layers.kernel_start import STARTS
from qfa_tf.layers.kernel_transform import KernelTransform
from qfa_tf.layers.precision import SiteQuantizers
from qfa_tf.layers.statistics import Mode
from quantize_configs.elastic_quantizer import ElasticQuantizer
from quantize_configs.errors import StateError
from quantize_configs.fake_quantization import FLOAT_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.lsq_quantizer import LSQQuantizer
from quantize_configs.native.deferred import DeferredMap, computed
from quantize_configs.quantizer_registry import activation_quantizer as make_quantizer

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
    """What a genome chose for a site.

    Attributes:
      weight: `Choice` of the quantizer of the kernel; None at a float site.
      activation: `Choice` of the quantizer of the input; None at a float site.
      inputs: Channels that it reads.
      outputs: Channels that it makes.
      kernel_size: int32 scalar, kernel of a depthwise site; other sites have one kernel size.
      execution: How tensors follow from all this.
    """

    weight: Any
    activation: Any
    inputs: Channels
    outputs: Channels
    kernel_size: tf.Tensor
    execution: Execution


class ElasticSite(keras.layers.Layer):
    """Convolution of a supernet with everything that belongs to its site.

    The input is quantized by BatchQuant or on a learned grid, the full weight by LSQ. What is left
    of the weight for the channels of a subnet is a matter of the execution, see `Execution`.

    Args:
      kind: "convolution" (any kernel), "pointwise", "depthwise" or "dense" (a 1x1 convolution on
        a 1x1 map).
      input_width: Largest number of input channels.
      output_width: Largest number of output channels.
      kernel_sizes: Ascending; more than one only for "depthwise".
      stride: Of the convolution.
      activation: "linear", "relu", "relu6" or "hard_swish".
      padding: "same", "valid", or "symmetric": k // 2 zeros on all sides, which differs from "same"
        at stride 2 on even sizes (the official releases).
      normalization: Whether batch normalization follows.
      use_bias: Whether a bias is added (without normalization).
      weight_bits: Bit-widths of the weight; 32 is allowed besides when there are several. (32,)
        for a float site.
      activation_bits: Bit-widths of the input; 32 is allowed besides.
      zero_point: See `BatchQuantizer`.
      signed_input: Whether the codes of the input are signed.
      estimator: See `BatchQuantizer`.
      factor_start: See `BatchQuantizer`.
      narrow_bits: See `LSQQuantizer`.
      weight_start: Its `start_rule`.
      activation_quantizer: One of `quantize_configs.quantizer_options.ACTIVATION_KINDS`.
      input_grid: The grid of a quantizer that learns its grid.
      shared_step: Whether all kernel sizes share the learned parameters of their bits.
      epsilon: Of the normalization.
      input_parts: Largest channels of each of the tensors that make up the input; one by default.
      stop_constant: Whether channels without variance pass no gradient, see `normalize_batch`.
      kernel_start: First values of the kernel, one of `STARTS`.
      first_gain: First values of the gains of normalization.
      kernel_width: Width of the kernel of a "convolution" where it is not square.
      groups: Of a "convolution" with fixed widths: the output is made in so many parts, each of its
        own part of the input.
      dilation: Distance of neighbouring weights of the kernel; above 1 with the stride 1.
      arithmetic: Of the supernet; by default what belongs to the zero point, see `arithmetic_of`.
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
        padding: str = "same",
        normalization: bool = True,
        use_bias: bool = False,
        zero_point: str = "integer",
        signed_input: bool = False,
        estimator: str = "channel_mean",
        factor_start: str = "range",
        narrow_bits: Sequence[int] = (8,),
        weight_start: str = "lsq",
        activation_quantizer: str = "batch",
        input_grid: str = "unsigned",
        shared_step: bool = False,
        input_parts: Sequence[int] = (),
        epsilon: float = 1e-2,
        stop_constant: bool = True,
        kernel_start: str = "fan_out",
        first_gain: float = 1.0,
        kernel_width: int | None = None,
        groups: int = 1,
        dilation: int = 1,
        arithmetic: FastArithmetic | None = None,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.dilation = dilation
        self.kernel_width = kernel_width
        self.groups = groups
        self.input_parts = tuple(input_parts)
        self.kind = kind
        self.input_width = input_width
        self.output_width = output_width
        self.kernel_sizes = tuple(kernel_sizes)
        self.stride = stride
        self.activation = activation
        self.padding = padding
        self.normalization = normalization
        self.use_bias = use_bias
        self.epsilon = epsilon
        self.stop_constant = stop_constant
        self.kernel_start = kernel_start
        self.first_gain = first_gain
        self.arithmetic = arithmetic_of(zero_point) if arithmetic is None else arithmetic
        self.shared_step = shared_step
        banks = 1 if shared_step else len(self.kernel_sizes)
        self.weight_quantizer: LSQQuantizer | None = None
        self.activation_quantizer: ElasticQuantizer | None = None
        if tuple(weight_bits) != (FLOAT_BITS,):
            self.weight_quantizer = LSQQuantizer(
                _with_float(weight_bits),
                narrow_bits=tuple(narrow_bits),
                banks=banks,
                start_rule=weight_start,
            )
        if tuple(activation_bits) == (FLOAT_BITS,):
            return
        self.activation_quantizer = make_quantizer(
            activation_quantizer,
            _with_float(activation_bits),
            zero_point=zero_point,
            estimator=estimator,
            factor_start=factor_start,
            signed=signed_input,
            grid=input_grid,
            banks=banks,
        )

    def build(self, input_shape=None):
        """Creates the weights."""
        size = self.kernel_sizes[-1]
        shape: tuple[int, ...]
        if self.kind == "depthwise":
            shape = (size, size, self.output_width, 1)
        elif self.kind == "convolution":
            rows = self.input_width // self.groups
            shape = (size, self.kernel_width or size, rows, self.output_width)
        else:  # a matrix product, faster than a 1x1 convolution
            shape = (self.input_width, self.output_width)
        self.kernel_elements = int(np.prod(shape))
        start = STARTS[self.kernel_start](size, self.input_width, self.output_width)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=start)
        self.transform = KernelTransform(self, self.kernel_sizes)
        if self.normalization:
            self.gamma = self.add_weight(
                name="gamma",
                shape=(self.output_width,),
                initializer=keras.initializers.Constant(self.first_gain),
                constraint=AtLeast(SMALLEST_GAMMA),
            )
            self.beta = self.add_weight(
                name="beta", shape=(self.output_width,), initializer="zeros"
            )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.output_width,), initializer="zeros"
            )
        super().build(input_shape)

    @property
    def quantizers(self) -> SiteQuantizers:
        """What the learned parameters of this site are for."""
        elements = tuple(
            self.kernel_elements * own**2 // self.kernel_sizes[-1] ** 2
            for own in self.bank_kernel_sizes
        )
        return SiteQuantizers(
            self.weight_quantizer, self.activation_quantizer, self.bank_kernel_sizes, elements
        )

    @property
    def bank_kernel_sizes(self) -> tuple[int, ...]:
        """The kernel sizes that have learned parameters; the largest alone when all share them."""
        return self.kernel_sizes[-1:] if self.shared_step else self.kernel_sizes

    def initial_steps(self) -> np.ndarray:
        """LSQ's first steps for the kernels as they are, float32, by kernel size and bits."""
        if self.weight_quantizer is None:
            raise StateError(f"The weights of {self.name!r} are in float and have no steps.")
        steps = [self.weight_quantizer.initial_steps(kernel.numpy()) for kernel in self.kernels()]
        return np.concatenate(steps)

    def kernels(self) -> list[tf.Tensor]:
        """The whole kernel in each of `bank_kernel_sizes`."""
        return [
            self.transform(self.kernel, size)
            if len(self.kernel_sizes) > 1
            else tf.convert_to_tensor(self.kernel)
            for size in self.bank_kernel_sizes
        ]

    @property
    def decayed_weights(self) -> list[tf.Variable]:
        """The weights that weight decay applies to."""
        return [self.kernel, *self.transform.matrices.values()]

    def active_kernel(self, kernel: np.ndarray, parts: Sequence[int], shape) -> np.ndarray:
        """The part of a kernel that a subnet has, float32 of `shape`.

        Args:
          kernel: The whole kernel, of the chosen size.
          parts: Active channels of each of the tensors that make up the input.
          shape: Of the part.
        """
        if len(self.input_parts) > 1:
            kernel = kernel.take(self._rows(parts), kernel.ndim - 2)
        return kernel[tuple(slice(size) for size in shape)]

    def active_outputs(self, values: np.ndarray, parts: Sequence[int], width: int) -> np.ndarray:
        """The values of the output channels that a subnet has, [width]; see `active_kernel`."""
        if self.kind == "depthwise" and len(self.input_parts) > 1:
            return values[self._rows(parts)]
        return values[:width]

    def _rows(self, parts: Sequence[int]) -> np.ndarray:
        starts = np.cumsum((0, *self.input_parts[:-1]))
        ranges = [np.arange(start, start + n) for start, n in zip(starts, parts, strict=True)]
        return np.concatenate(ranges)

    def call(self, x, choice: SiteChoice, mode: Mode, stored=None, defer: bool = False):
        """Runs the site for one choice.

        Args:
          x: [N, H, W, C] with the input channels of the choice, or one that is not computed yet.
          choice: Bits, width and kernel.
          mode: Where statistics come from.
          stored: In FROZEN mode, a function that reads the entry `range`, `mean` or `variance`.
          defer: Whether the output may be a `DeferredMap`.

        Returns:
          (output, recorded): the activation map, and in CALIBRATE mode a dict with the entries
          `range`, `mean`, `variance`, `linear`, `output` (empty otherwise).
        """
        recorded: dict[str, tf.Tensor] = {}
        x, low, high = self._quantized_input(x, choice, mode, stored)
        x = self._convolve(x, self._quantized_kernel(choice, mode), choice, mode)
        if self.normalization and mode is Mode.TRAIN:
            gamma, beta = self._active_gains(choice)
            arithmetic = self.arithmetic
            make = arithmetic.defer_normalization if defer else arithmetic.normalize_and_activate
            options = self.epsilon, self.stop_constant, self.activation
            return make(x, gamma, beta, *options), recorded
        if self.normalization and mode is Mode.FROZEN:
            x = self._normalize_by_stored(x, choice, stored)
            return x if defer else computed(x), recorded
        if self.normalization:
            x, moments = self._normalize(x, choice)
            recorded |= moments
        elif self.use_bias:
            x += tf.cast(self._active_outputs(self.bias, choice), x.dtype)
        linear = x
        if mode is Mode.TRAIN:
            return self.arithmetic.activations[self.activation](x), recorded
        x = self.arithmetic.activate(x, self.activation)
        if mode.records:
            if self.activation == "hard_swish":
                recorded["linear"] = extremes(linear, choice.outputs.active)
            recorded["range"] = tf.stack([low, high])
            recorded["output"] = extremes(x, choice.outputs.active)
        return x if defer else computed(x), recorded

    @property
    def quantizes_by_range(self) -> bool:
        """Whether the grid of the input follows from its range."""
        quantizer = self.activation_quantizer
        return quantizer is not None and quantizer.needs_range

    def _quantized_input(self, x, choice, mode, stored):
        """(quantized input, low, high): ranges are those of the grid, or, to be recorded, of x."""
        low = high = tf.zeros([])
        precision, active = choice.activation, choice.inputs.active
        quantizer = self.activation_quantizer if precision is not None else None
        if quantizer is None:
            x = computed(x)
        if quantizer is not None and quantizer.needs_range:
            if mode.takes_statistics:
                low, high = tf.unstack(stored("range"))
            else:
                low, high = quantizer.batch_range(x, active=active)
        elif mode.records:  # of a float site, for the 8 bits it has on the device
            low, high = tf.unstack(extremes(x, active))
        if quantizer is not None:
            x = quantizer.quantize_choice(x, precision, (low, high), active)
        return x, low, high

    def _quantized_kernel(self, choice, mode) -> tf.Tensor:
        """The active part of the kernel, quantized.

        The papers quantize the whole kernel and slice it then. One step per tensor makes that the
        same, with the gradient of the step scaled by the number of all weights; zero stays zero.
        """
        kernel, execution = tf.convert_to_tensor(self.kernel), choice.execution
        if len(self.kernel_sizes) > 1:
            take = execution.trained_kernel if mode is Mode.TRAIN else execution.kernel
            kernel = take(kernel, choice.outputs, self.transform, choice.kernel_size)
        elif self.kind == "depthwise":
            kernel = execution.take(kernel, {2: choice.outputs})
        else:
            rows = kernel.shape.rank - 2
            kernel = execution.take(kernel, {rows: choice.inputs, rows + 1: choice.outputs})
        precision = choice.weight
        if precision is None or self.weight_quantizer is None:
            return kernel
        return self.weight_quantizer.quantize_choice(kernel, precision)

    def _active_outputs(self, values, choice):
        """The values of the active output channels."""
        return choice.execution.take(values, {0: choice.outputs})

    def _convolve(self, x, kernel, choice, mode):
        kernel = tf.cast(kernel, x.dtype)
        padding = "VALID" if self.padding == "valid" else "SAME"
        if self.kind in ("pointwise", "dense"):
            widths = choice.inputs.width, choice.outputs.width
            return self.arithmetic.multiply_channels(x, kernel, *widths)
        strides = [1, self.stride, self.stride, 1]
        if self.padding == "symmetric" and self.stride > 1:  # equal to SAME at stride 1
            sides = tf.fill([2], tf.shape(kernel)[0] // 2)
            x = tf.pad(x, [[0, 0], sides, sides, [0, 0]])
            padding = "VALID"
        if self.groups > 1:
            kernel = _block_diagonal(kernel, self.groups)
        if self.dilation > 1:
            return self._convolve_dilated(x, kernel, padding)
        if self.kind == "depthwise":
            trains = mode is Mode.TRAIN
            convolve = self.arithmetic.convolve_depthwise if trains else depthwise_convolution
            sizes = choice.execution.kernel_sizes(self.kernel_sizes)
            return convolve(x, kernel, self.stride, padding, sizes)
        return tf.nn.conv2d(x, kernel, strides, padding)

    def _convolve_dilated(self, x, kernel, padding: str):
        """By plain convolutions of every `dilation`-th row and column.

        TensorFlow's own gradient of a dilated convolution needs oneDNN on a CPU.
        """
        plain = tf.nn.depthwise_conv2d if self.kind == "depthwise" else tf.nn.conv2d
        return tf.compat.v1.nn.with_space_to_batch(
            x,
            [self.dilation] * 2,
            padding,
            lambda part, _, padding: plain(part, kernel, [1, 1, 1, 1], padding),
            filter_shape=kernel.shape[:2],
        )

    def _active_gains(self, choice):
        """(gamma, beta) of the active output channels."""
        return tuple(self._active_outputs(one, choice) for one in (self.gamma, self.beta))

    def _normalize_by_stored(self, x, choice, stored) -> tf.Tensor | DeferredMap:
        """The activation of what statistics that are given normalize."""
        statistics = [
            choice.execution.unpack(stored(one), choice.outputs) for one in ("mean", "variance")
        ]
        gamma, beta = self._active_gains(choice)
        options = self.epsilon, self.activation
        return self.arithmetic.normalize_by(x, statistics, gamma, beta, *options)

    def _normalize(self, x, choice) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """What the statistics of the batch normalize, and these."""
        gamma, beta = self._active_gains(choice)
        x, mean, variance = self.arithmetic.normalize_batch(
            x, gamma, beta, self.epsilon, True, self.stop_constant
        )
        moments = {"mean": mean, "variance": variance}
        return x, {
            name: choice.execution.pack(one, choice.outputs) for name, one in moments.items()
        }


def _block_diagonal(kernel: tf.Tensor, groups: int) -> tf.Tensor:
    """The kernel [h, w, inputs, outputs] of a convolution in groups as that of one without.

    TensorFlow has no gradient of convolutions in groups on a CPU.
    """
    _, _, rows, outputs = kernel.shape
    of_row = np.arange(rows * groups)[:, None] // rows
    of_column = np.arange(outputs)[None] // (outputs // groups)
    return tf.tile(kernel, [1, 1, groups, 1]) * tf.constant(of_row == of_column, kernel.dtype)


def _with_float(bits: Sequence[int]) -> tuple[int, ...]:
    return tuple(bits) if len(bits) == 1 else (*bits, FLOAT_BITS)
