"""Operators with weights and a bias: convolutions and FULLY_CONNECTED.

Sources: XNNPACK src/microparams-init.c, src/xnnpack/requantization.h; LiteRT tflite/kernels
(conv.cc, depthwise_conv.cc, fully_connected.cc), internal/common.h, internal/optimized/integer_ops,
internal/reference/integer_ops.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from quantize_configs.errors import InvalidInputError
from quantize_configs.kernels.multipliers import quantize_multiplier
from tflite_tools.arithmetic import accumulators
from tflite_tools.arithmetic.accumulators import Windows, shifted_worst_case
from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.arithmetic.node import Node
from tflite_tools.arithmetic.rounding import (
    round_half_away,
    saturate,
    scale_half_away,
    scale_half_up,
    scale_half_up_then_left,
    scale_once,
    scale_reduced,
)
from tflite_tools.integer_graph.tensors import DataType, Tensor
from tflite_tools.operators.operator import (
    Arithmetic,
    Kernel,
    KernelTable,
    Operator,
    alike,
    run_in_litert,
    version_of,
)
from tflite_tools.operators.options import (
    read_activation,
    read_dilations,
    read_window,
    set_activation,
    set_dilations,
    set_window,
)
from tflite_tools.operators.settings import (
    Activation,
    Padding,
    RuleError,
    Shape,
    check_pair,
    require,
    windowed,
)

_CONVOLUTION_VERSIONS = {DataType.INT8: 3, DataType.INT4: 7}
_FULLY_CONNECTED_VERSIONS = {DataType.INT8: 4, DataType.INT4: 10, DataType.INT2: 14}
_GROUPED_VERSION = 6
_BIAS_SCALE_TOLERANCE = 1e-5
"""Largest relative difference of a bias scale from input scale times weight scale."""
_INT64_BITS = 47
"""Of the sums that LiteRT's fixed-point product of INT64 takes."""
_DEPTHWISE_GROUP = 8
"""Channels per step of the vector loop of the built-in kernel."""
_VECTOR_ROWS, _VECTOR_DEPTH = 4, 8
"""Least size of the matrix in the built-in ARM64 product of a matrix and a vector."""


def real_multipliers(node: Node) -> np.ndarray:
    """sx * sw[c] / sy per output channel, float64."""
    scales = np.float64(node.input_scale) * node.weight_scales.astype(np.float64)
    return scales / np.float64(node.output_scale)


def _multipliers(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """(q, exponent) of `real_multipliers`."""
    return quantize_multiplier(real_multipliers(node))


def _written(node: Node, scaled: np.ndarray) -> np.ndarray:
    """Codes of the built-in and the reference kernels."""
    dtype = node.output.dtype.numpy_type.type
    limits = node.limits(KernelSet.BUILTIN)
    return saturate(scaled + node.output_zero_point, *limits, dtype)


def xnnpack(node: Node) -> np.ndarray:
    """rint(f32(acc) * (sx * sw[c] / sy)) + zy, in float32, ties to even."""
    scales = node.input_scale * node.weight_scales / node.output_scale
    scaled = node.attributes.sums(node).astype(np.float32)
    scaled *= scales
    np.rint(scaled, out=scaled)
    scaled += np.float32(node.output_zero_point)
    return saturate(scaled, *node.limits(KernelSet.XNNPACK))


def product(node: Node) -> np.ndarray:
    """The built-in product of matrices: both roundings half up; on ARM64 one rounding, half up.

    There, a vector of INT8 instead of the second matrix (one pixel of one image) has a kernel of
    its own, which rounds twice and takes no matrix below a size.
    """
    sums = node.attributes.sums(node)
    rows, depth = sums.shape[-1], math.prod(node.inputs[1].shape[1:])
    is_vector = (
        sums.size == rows
        and rows >= _VECTOR_ROWS
        and depth >= _VECTOR_DEPTH
        and node.inputs[0].dtype is DataType.INT8
    )
    rounds_once = node.processor is Processor.ARM64 and not is_vector
    scale = scale_once if rounds_once else scale_half_up
    return _written(node, scale(sums, *_multipliers(node)))


def half_away(node: Node) -> np.ndarray:
    """Fixed point, the second rounding with ties away from zero."""
    return _written(node, scale_half_away(node.attributes.sums(node), *_multipliers(node)))


def _one_rounding(node: Node) -> np.ndarray:
    """One rounding of a float64 product, ties away from zero."""
    products = node.attributes.sums(node).astype(np.float64) * real_multipliers(node)
    return _written(node, round_half_away(products))


def _reference_fully_connected(node: Node) -> np.ndarray:
    """One rounding in float64; for microcontrollers two, as in convolutions."""
    if node.processor is Processor.MICROCONTROLLER:
        return _wide(half_away)(node)
    return _one_rounding(node)


def _builtin_conv_2d(node: Node) -> np.ndarray:
    """With groups, LiteRT runs its reference kernel."""
    return half_away(node) if _is_grouped(node) else product(node)


def _is_grouped(node: Node) -> bool:
    return node.inputs[1].shape[3] != node.inputs[0].shape[3]


def _builtin_depthwise(node: Node) -> np.ndarray:
    """The vector loop rounds half up, the scalar tail ties away from zero.

    On ARM64, filters of 3 x 3 have a kernel of their own, in which a left shift comes last.
    """
    sums = node.attributes.sums(node)
    multiplier, exponent = _multipliers(node)
    if node.processor is Processor.ARM64 and _has_3x3_kernel(node):
        return _written(node, scale_half_up_then_left(sums, multiplier, exponent))
    scaled = scale_half_up(sums, multiplier, exponent)
    tail = sums.shape[-1] // _DEPTHWISE_GROUP * _DEPTHWISE_GROUP
    scaled[..., tail:] = scale_half_away(sums[..., tail:], multiplier[tail:], exponent[tail:])
    return _written(node, scaled)


def _has_3x3_kernel(node: Node) -> bool:
    """Whether the built-in ARM64 kernel for filters of 3 x 3 takes a depthwise convolution.

    It takes windows without padding, or with one pixel of it before both axes; with padding, no
    images that are a single row or column.
    """
    x, weights, _ = node.inputs
    windows = node.attributes.windows(weights.shape)
    if (
        windows.size != (3, 3)
        or windows.dilations != (1, 1)
        or windows.strides not in ((1, 1), (2, 2))
        or node.attributes.depth_multiplier != 1
        or weights.shape[3] % _DEPTHWISE_GROUP
    ):
        return False
    image = x.shape[1], x.shape[2]
    (above, below), (left, right) = windows.sides(image)
    if (above, left) == (0, 0):
        return (below, right) == (0, 0)
    return (above, left) == (1, 1) and (1 not in image or image == (1, 1))


def _wide(narrow: Kernel) -> Kernel:
    """Convolution with INT16 activations.

    With an INT64 bias it scales a 64-bit sum by a multiplier of 15 bits; with an INT32 bias
    (`quantizedBiasType`) it rounds as with INT8 activations.
    """

    def kernel(node: Node) -> np.ndarray:
        if node.inputs[2].dtype is not DataType.INT64:
            return narrow(node)
        return _written(node, scale_reduced(node.attributes.sums(node), *_multipliers(node)))

    return kernel


def _builtin_wide_conv_2d(node: Node) -> np.ndarray:
    return _wide(_builtin_conv_2d)(node)


def _wide_fully_connected(node: Node) -> np.ndarray:
    return _one_rounding(node) if node.inputs[2].dtype is DataType.INT64 else product(node)


_FLOAT = alike(run_in_litert)


class Linear(Operator):
    """Inputs are (x, weights, bias); a bias has the scale of x times that of the weights."""

    arity: ClassVar[int | None] = 3
    constants: ClassVar[tuple[int, ...]] = (1, 2)
    is_linear: ClassVar[bool] = True
    weight_axis: ClassVar[int] = 0

    def sums(self, node: Node) -> np.ndarray:
        """Accumulators, integers in float32 or float64."""
        raise NotImplementedError(type(self).__name__)

    def check(self, inputs: Sequence[Tensor], output: Tensor) -> None:
        """Type and scale of the bias, and that no sum leaves its type."""
        x, weights, bias = inputs
        if not x.dtype.is_integer:
            return
        types = (DataType.INT32, DataType.INT64) if x.dtype is DataType.INT16 else (DataType.INT32,)
        if bias.dtype not in types or bias.grid.zero_point != 0:
            raise RuleError(
                f"needs a bias that must be {' or '.join(kind.name for kind in types)} with zero "
                f"point 0, not {bias.dtype} with zero point {bias.grid.zero_point}"
            )
        expected = np.float64(x.grid.scales) * weights.grid.scales
        scales = bias.grid.scales
        require(
            scales.shape == expected.shape
            and np.allclose(scales, expected, rtol=_BIAS_SCALE_TOLERANCE, atol=0),
            "needs a bias scale of the input scale times the weight scale of each channel; use "
            "graph.add_bias, which sets it",
        )
        depthwise = self.weight_axis != 0
        worst = shifted_worst_case(x, weights, bias, output.grid, depthwise=depthwise)
        bits = _INT64_BITS if bias.dtype is DataType.INT64 else 31
        if worst >> bits:
            raise RuleError(
                f"has an accumulator that can reach {worst} (2^{bits} or more) and would overflow "
                f"{bias.dtype.name}; use smaller weight or bias codes, that is larger weight scales"
                + (", or an INT64 bias" if x.dtype is DataType.INT16 and bits == 31 else "")
            )


@dataclasses.dataclass(frozen=True)
class Conv2D(Linear):
    """CONV_2D. Inputs: x [1,H,W,I], weights [O,kh,kw,I/groups], bias [O]."""

    strides: tuple[int, int] = (1, 1)
    padding: Padding = Padding.SAME
    activation: Activation = Activation.NONE
    dilations: tuple[int, int] = (1, 1)
    kind: ClassVar[str] = "CONV_2D"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: {
            KernelSet.XNNPACK: xnnpack,
            KernelSet.BUILTIN: _builtin_conv_2d,
            KernelSet.REFERENCE: half_away,
        },
        Arithmetic.INT16: {
            KernelSet.BUILTIN: _builtin_wide_conv_2d,
            KernelSet.REFERENCE: _wide(half_away),
        },
        Arithmetic.FLOAT32: _FLOAT,
    }

    def __post_init__(self) -> None:
        check_pair(self, "strides")
        check_pair(self, "dilations")

    def windows(self, weights: Shape) -> Windows:
        """The sliding window of weights of a shape."""
        return Windows((weights[1], weights[2]), self.strides, self.padding, self.dilations)

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        x, weights, bias = inputs
        require(
            len(x) == 4
            and len(weights) == 4
            and x[3] % weights[3] == 0
            and weights[0] % (x[3] // weights[3]) == 0,
            f"needs x [1,H,W,I] and weights [O,kh,kw,I] with one I, or I / groups, not {x} and "
            f"{weights}",
        )
        require(bias == weights[:1], f"needs a bias of shape {weights[:1]}, not {bias}")
        extent = self.windows(weights).extent
        return windowed(x, extent, self.strides, self.padding, weights[0])

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        return math.prod(output) * math.prod(inputs[1][1:])

    def sums(self, node: Node) -> np.ndarray:
        x, weights, bias = node.inputs
        return accumulators.conv_2d(node.values[0], x, weights, bias, self.windows(weights.shape))

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.Conv2DOptionsT()
        set_window(schema, options, self)
        set_dilations(options, self.dilations)
        x, weights, _ = inputs
        if x.dtype is DataType.INT16:
            return options, 8 if _set_bias_type(schema, options, inputs) else 4
        version = version_of(_CONVOLUTION_VERSIONS, weights)
        is_grouped = weights.shape[3] != x.shape[3]
        return options, max(version, _GROUPED_VERSION) if is_grouped else version

    @classmethod
    def read(cls, options: Any | None, settings: Sequence[np.ndarray]) -> Self:
        return cls(*read_window(options), dilations=read_dilations(options))


@dataclasses.dataclass(frozen=True)
class DepthwiseConv2D(Linear):
    """DEPTHWISE_CONV_2D. Inputs: x [1,H,W,C], weights [1,kh,kw,C*multiplier], bias.

    Output channel `c * multiplier + m` reads input channel `c`. What is left to the built-in
    kernels gets a copy of its bias: XNNPACK takes constant ones only.
    """

    strides: tuple[int, int] = (1, 1)
    padding: Padding = Padding.SAME
    activation: Activation = Activation.NONE
    depth_multiplier: int = 1
    dilations: tuple[int, int] = (1, 1)
    left_to_builtin: bool = False
    kind: ClassVar[str] = "DEPTHWISE_CONV_2D"
    weight_axis: ClassVar[int] = 3
    reference_version_limit: ClassVar[int | None] = 6  # LiteRT tflite/kernels/register_ref.cc
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: {
            KernelSet.XNNPACK: xnnpack,
            KernelSet.BUILTIN: _builtin_depthwise,
            KernelSet.REFERENCE: half_away,
        },
        Arithmetic.INT16: alike(_wide(product)),
        Arithmetic.FLOAT32: _FLOAT,
    }

    def __post_init__(self) -> None:
        check_pair(self, "strides")
        check_pair(self, "dilations")
        if self.depth_multiplier < 1:
            raise InvalidInputError(
                f"DepthwiseConv2D: depth_multiplier is at least 1. Received: "
                f"{self.depth_multiplier!r}."
            )

    @property
    def copied_constants(self) -> tuple[int, ...]:
        """The bias of what is left to the built-in kernels."""
        return (2,) if self.left_to_builtin else ()

    def windows(self, weights: Shape) -> Windows:
        """The sliding window of weights of a shape."""
        return Windows((weights[1], weights[2]), self.strides, self.padding, self.dilations)

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        x, weights, bias = inputs
        multiplier = self.depth_multiplier
        require(
            len(x) == 4
            and len(weights) == 4
            and weights[0] == 1
            and weights[3] == x[3] * multiplier,
            f"needs x [1,H,W,C] and weights [1,kh,kw,C*{multiplier}], not {x} and {weights}",
        )
        require(bias == weights[3:], f"needs a bias of shape {weights[3:]}, not {bias}")
        extent = self.windows(weights).extent
        return windowed(x, extent, self.strides, self.padding, weights[3])

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        return math.prod(output) * math.prod(inputs[1][1:3])

    def sums(self, node: Node) -> np.ndarray:
        x, weights, bias = node.inputs
        windows = self.windows(weights.shape)
        return accumulators.depthwise_conv_2d(
            node.values[0], x, weights, bias, windows, self.depth_multiplier
        )

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.DepthwiseConv2DOptionsT()
        set_window(schema, options, self)
        set_dilations(options, self.dilations)
        options.depthMultiplier = self.depth_multiplier
        if inputs[0].dtype is DataType.INT16:
            return options, 5
        return options, version_of(_CONVOLUTION_VERSIONS, inputs[1])

    @classmethod
    def read(cls, options: Any | None, settings: Sequence[np.ndarray]) -> Self:
        multiplier = getattr(options, "depthMultiplier", 1)
        return cls(*read_window(options), multiplier, read_dilations(options))


@dataclasses.dataclass(frozen=True)
class FullyConnected(Linear):
    """FULLY_CONNECTED. Inputs: x [1,...,I], weights [O,I], bias [O].

    With `keep_num_dims` it acts on the last axis of x, which makes it a 1x1 convolution of an
    NHWC tensor; without, x has two dimensions.
    """

    activation: Activation = Activation.NONE
    keep_num_dims: bool = False
    kind: ClassVar[str] = "FULLY_CONNECTED"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: {
            KernelSet.XNNPACK: xnnpack,
            KernelSet.BUILTIN: product,
            KernelSet.REFERENCE: _reference_fully_connected,
        },
        Arithmetic.INT16: {
            KernelSet.BUILTIN: _wide_fully_connected,
            KernelSet.REFERENCE: _reference_fully_connected,
        },
        Arithmetic.FLOAT32: _FLOAT,
    }

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        x, weights, bias = inputs
        require(
            len(weights) == 2 and len(x) >= 2 and x[-1] == weights[1],
            f"needs x [1,...,I] and weights [O,I] with one I, not {x} and {weights}",
        )
        require(
            self.keep_num_dims or len(x) == 2,
            f"needs a two-dimensional x, not {x}, unless keep_num_dims is set",
        )
        require(bias == weights[:1], f"needs a bias of shape {weights[:1]}, not {bias}")
        return *x[:-1], weights[0]

    def macs(self, inputs: Sequence[Shape], output: Shape) -> int:
        return math.prod(output) * inputs[1][1]

    def sums(self, node: Node) -> np.ndarray:
        x, weights, bias = node.inputs
        return accumulators.fully_connected(node.values[0], x, weights, bias)

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.FullyConnectedOptionsT()
        options.keepNumDims = self.keep_num_dims
        set_activation(schema, options, self.activation)
        if inputs[0].dtype is DataType.INT16:
            return options, 11 if _set_bias_type(schema, options, inputs) else 7
        version = version_of(_FULLY_CONNECTED_VERSIONS, inputs[1])
        return options, max(version, 5) if self.keep_num_dims else version

    @classmethod
    def read(cls, options: Any | None, settings: Sequence[np.ndarray]) -> Self:
        return cls(read_activation(options), bool(getattr(options, "keepNumDims", False)))


def _set_bias_type(schema: Any, options: Any, inputs: Sequence[Tensor]) -> bool:
    """Names an INT32 bias, which kernels with INT16 activations would read as INT64 otherwise."""
    is_narrow = inputs[2].dtype is DataType.INT32
    if is_narrow:
        options.quantizedBiasType = schema.TensorType.INT32
    return is_narrow
