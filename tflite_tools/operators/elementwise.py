"""Operators that join two tensors element by element.

Sources: XNNPACK src/microparams-init.c; LiteRT tflite/kernels (add.cc, mul.cc),
internal/optimized/integer_ops/add.h.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from quantize_configs.kernels.multipliers import quantize_multiplier
from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.arithmetic.node import Node
from tflite_tools.arithmetic.rounding import (
    saturate,
    scale_half_away,
    scale_half_up,
)
from tflite_tools.integer_graph.tensors import DataType, Tensor
from tflite_tools.operators.operator import Arithmetic, Kernel, KernelTable, Operator, alike
from tflite_tools.operators.options import read_activation, set_activation
from tflite_tools.operators.settings import Activation, Shape, require

_ADD_LEFT_SHIFT = 20
_ADD_GROUP = 8
"""Elements per step of the vector loop."""

Scaling = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _xnnpack_add(node: Node) -> np.ndarray:
    """Common fixed-point multipliers of about 20 bits, one rounding, half up."""
    grids = [tensor.grid for tensor in node.inputs]
    ratios = [grid.scale / node.output_scale for grid in grids]
    shift = 20 - (math.frexp(float(max(ratios)))[1] - 1)
    total: np.ndarray = np.array(1 << (shift - 1), np.int64)
    for codes, grid, ratio in zip(node.values, grids, ratios, strict=True):
        multiplier = int(np.rint(np.ldexp(ratio, shift)))
        total = total + (codes.astype(np.int64) - grid.zero_point) * multiplier
    limits = node.limits(KernelSet.XNNPACK)
    return saturate((total >> shift) + node.output_zero_point, *limits)


def _scalar_add(node: Node, scale_input: Scaling = scale_half_away) -> np.ndarray:
    """ADD of the built-in and the reference kernels: inputs << 20, three Q31 products.

    `scale_input` rounds the products of the inputs.
    """
    scales = [np.float64(tensor.grid.scale) for tensor in node.inputs]
    twice_max = 2.0 * max(scales)
    total: np.ndarray = np.array(0, np.int64)
    for tensor, codes, scale in zip(node.inputs, node.values, scales, strict=True):
        centred = codes.astype(np.int64) - tensor.grid.zero_point
        total = total + scale_input(
            centred << _ADD_LEFT_SHIFT, *quantize_multiplier(scale / twice_max)
        )
    output_scale = (1 << _ADD_LEFT_SHIFT) * np.float64(node.output_scale)
    scaled = scale_half_away(total, *quantize_multiplier(twice_max / output_scale))
    return saturate(scaled + node.output_zero_point, *node.limits(KernelSet.BUILTIN))


def _builtin_add(node: Node) -> np.ndarray:
    """The vector loop shifts the inputs before it multiplies them and rounds once."""
    result = _scalar_add(node)
    body = result.size // _ADD_GROUP * _ADD_GROUP
    result.reshape(-1)[:body] = _scalar_add(node, _scale_shifted).reshape(-1)[:body]
    return result


def _scale_shifted(values: np.ndarray, multiplier: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    return scale_half_up(values >> -exponent, multiplier, 0)


def _centred_product(node: Node, dtype: type) -> np.ndarray:
    zero_points = [tensor.grid.zero_point for tensor in node.inputs]
    left, right = node.values
    return np.multiply(left.astype(dtype) - zero_points[0], right.astype(dtype) - zero_points[1])


def _product_scale(node: Node) -> np.float32:
    left, right = (np.float32(tensor.grid.scale) for tensor in node.inputs)
    return left * right / node.output_scale


def _xnnpack_mul(node: Node) -> np.ndarray:
    """One float32 multiplier, ties to even; on ARM64 its 24 bits in fixed point, half up."""
    if node.processor is Processor.ARM64:
        return _xnnpack_mul_arm64(node)
    scaled = _centred_product(node, np.int32).astype(np.float32)
    scaled *= _product_scale(node)
    limits = node.limits(KernelSet.XNNPACK)
    return saturate(np.rint(scaled) + np.float32(node.output_zero_point), *limits)


def _xnnpack_mul_arm64(node: Node) -> np.ndarray:
    """The high half of a doubled product is cut off, and the shift behind it rounds half up.

    From XNNPACK's source (src/microparams-init.c).
    """
    bits = int(np.float32(_product_scale(node)).view(np.uint32))
    multiplier = ((bits & 0x007FFFFF) | 0x00800000) << 7
    shift = 127 + 31 - 32 - (bits >> 23)
    right = max(shift, 1)
    products = _centred_product(node, np.int64) << (right - shift)
    high = (np.clip(products, -(1 << 31), (1 << 31) - 1) * multiplier) >> 31
    scaled = (high + (1 << (right - 1))) >> right
    return saturate(scaled + node.output_zero_point, *node.limits(KernelSet.XNNPACK))


def _scalar_mul(node: Node) -> np.ndarray:
    """Fixed point, ties away from zero."""
    multipliers = quantize_multiplier(_product_scale(node))
    scaled = scale_half_away(_centred_product(node, np.int64), *multipliers)
    return saturate(scaled + node.output_zero_point, *node.limits(KernelSet.BUILTIN))


def _of_floats(function: Callable[..., np.ndarray]) -> Kernel:
    """A function of two FLOAT32 tensors, clipped by the fused activation."""

    def kernel(node: Node) -> np.ndarray:
        low, high = node.limits(KernelSet.XNNPACK)
        return np.clip(function(*node.values), np.float32(low), np.float32(high))

    return kernel


@dataclasses.dataclass(frozen=True)
class _Pair(Operator):
    """Two tensors, axes of size 1 broadcast against the other's.

    The second one may be a FLOAT32 constant [1] or [C].
    """

    arity: ClassVar[int | None] = 2
    optional_constants: ClassVar[tuple[int, ...]] = (1,)
    is_pointwise: ClassVar[bool] = True

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        left, right = inputs
        if right in ((1,), left[-1:]):
            return left
        fits = len(left) == len(right) and all(
            a == b or 1 in (a, b) for a, b in zip(left, right, strict=True)
        )
        require(fits, f"needs two inputs whose axes are equal or 1, not {left} and {right}")
        return tuple(map(max, left, right))


@dataclasses.dataclass(frozen=True)
class _Binary(_Pair):
    """A pair with a fused activation."""

    activation: Activation = Activation.NONE

    @classmethod
    def read(cls, options: Any | None, settings: Sequence[np.ndarray]) -> Self:
        return cls(read_activation(options))


@dataclasses.dataclass(frozen=True)
class Add(_Binary):
    """ADD of two tensors."""

    kind: ClassVar[str] = "ADD"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: {
            KernelSet.XNNPACK: _xnnpack_add,
            KernelSet.BUILTIN: _builtin_add,
            KernelSet.REFERENCE: _scalar_add,
        },
        Arithmetic.FLOAT32: alike(_of_floats(np.add)),
    }

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.AddOptionsT()
        set_activation(schema, options, self.activation)
        return options, 1 if inputs[0].dtype is DataType.FLOAT32 else 2


@dataclasses.dataclass(frozen=True)
class Mul(_Binary):
    """MUL of two tensors."""

    kind: ClassVar[str] = "MUL"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: {
            KernelSet.XNNPACK: _xnnpack_mul,
            KernelSet.BUILTIN: _scalar_mul,
            KernelSet.REFERENCE: _scalar_mul,
        },
        Arithmetic.FLOAT32: alike(_of_floats(np.multiply)),
    }

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.MulOptionsT()
        set_activation(schema, options, self.activation)
        if inputs[0].dtype is DataType.FLOAT32:
            return options, 1
        left, right, target = (tensor.grid.scale for tensor in (*inputs, output))
        return options, 3 if left * right / target >= 1 else 2


@dataclasses.dataclass(frozen=True)
class Sub(_Binary):
    """SUB of two FLOAT32 tensors."""

    kind: ClassVar[str] = "SUB"
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(_of_floats(np.subtract))}

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.SubOptionsT()
        set_activation(schema, options, self.activation)
        return options, 1


@dataclasses.dataclass(frozen=True)
class SquaredDifference(_Pair):
    """SQUARED_DIFFERENCE of two FLOAT32 tensors: (x - y) (x - y)."""

    kind: ClassVar[str] = "SQUARED_DIFFERENCE"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.FLOAT32: alike(_of_floats(lambda x, y: np.square(x - y)))
    }

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        return schema.SquaredDifferenceOptionsT(), 1


@dataclasses.dataclass(frozen=True)
class Maximum(_Pair):
    """MAXIMUM of two FLOAT32 tensors."""

    kind: ClassVar[str] = "MAXIMUM"
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(_of_floats(np.maximum))}

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        return schema.MaximumMinimumOptionsT(), 1


@dataclasses.dataclass(frozen=True)
class Minimum(_Pair):
    """MINIMUM of two FLOAT32 tensors."""

    kind: ClassVar[str] = "MINIMUM"
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(_of_floats(np.minimum))}

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        return schema.MaximumMinimumOptionsT(), 1
