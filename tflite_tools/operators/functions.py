"""Functions of floats: the order of operations decides the last bit.

LOGISTIC, TANH, GELU, EXP, RSQRT and SOFTMAX take polynomials that differ by kernel set and
processor.

Sources: XNNPACK src/f32-vhswish (fused multiply-add), LiteRT tflite/kernels/internal/reference
(hard_swish.h) and optimized (optimized_ops.h).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from tflite_tools.arithmetic.kernel_sets import KernelSet
from tflite_tools.arithmetic.node import Node
from tflite_tools.arithmetic.rounding import plus_half
from tflite_tools.integer_graph.tensors import Tensor
from tflite_tools.operators.operator import Arithmetic, KernelTable, Operator, alike, run_in_litert
from tflite_tools.operators.settings import Shape, require

_SIXTH = np.float32(1 / 6)


def _xnnpack_hard_swish(node: Node) -> np.ndarray:
    """x times the clipped fma(x, 1/6, 1/2)."""
    values = node.values[0]
    gate = plus_half(values.astype(np.float64) * np.float64(_SIXTH)).astype(np.float32)
    return np.clip(gate, np.float32(0), np.float32(1)) * values


def _builtin_hard_swish(node: Node) -> np.ndarray:
    """x / 6, as a product, times the clipped x + 3."""
    values = node.values[0]
    return values * _SIXTH * _clipped_sum(values)


def _reference_hard_swish(node: Node) -> np.ndarray:
    """x times the clipped x + 3, divided by 6."""
    values = node.values[0]
    return values * _clipped_sum(values) / np.float32(6)


def _clipped_sum(values: np.ndarray) -> np.ndarray:
    return np.clip(values + np.float32(3), np.float32(0), np.float32(6))


def _relu(node: Node) -> np.ndarray:
    return np.maximum(node.values[0], np.float32(0))


def _relu6(node: Node) -> np.ndarray:
    return np.clip(node.values[0], np.float32(0), np.float32(6))


def _leaky_relu(node: Node) -> np.ndarray:
    values = node.values[0]
    return np.where(values >= 0, values, values * np.float32(node.attributes.slope))


def _prelu(node: Node) -> np.ndarray:
    values, slopes = node.values
    return np.where(values >= 0, values, values * slopes.reshape(-1))


@dataclasses.dataclass(frozen=True)
class HardSwish(Operator):
    """HARD_SWISH on FLOAT32: x * relu6(x + 3) / 6."""

    kind: ClassVar[str] = "HARD_SWISH"
    is_pointwise: ClassVar[bool] = True
    kernels: ClassVar[KernelTable] = {
        Arithmetic.FLOAT32: {
            KernelSet.XNNPACK: _xnnpack_hard_swish,
            KernelSet.BUILTIN: _builtin_hard_swish,
            KernelSet.REFERENCE: _reference_hard_swish,
        }
    }

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        return schema.HardSwishOptionsT(), 1


@dataclasses.dataclass(frozen=True)
class _Function(Operator):
    """A function of each element of a FLOAT32 tensor, without settings."""

    is_pointwise: ClassVar[bool] = True
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(run_in_litert)}

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        return None, 1


@dataclasses.dataclass(frozen=True)
class Logistic(_Function):
    """LOGISTIC on FLOAT32: 1 / (1 + exp(-x))."""

    kind: ClassVar[str] = "LOGISTIC"


@dataclasses.dataclass(frozen=True)
class Tanh(_Function):
    """TANH on FLOAT32."""

    kind: ClassVar[str] = "TANH"


@dataclasses.dataclass(frozen=True)
class Rsqrt(_Function):
    """RSQRT on FLOAT32: 1 / sqrt(x)."""

    kind: ClassVar[str] = "RSQRT"


@dataclasses.dataclass(frozen=True)
class Exp(_Function):
    """EXP on FLOAT32."""

    kind: ClassVar[str] = "EXP"

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        return schema.ExpOptionsT(), 1


@dataclasses.dataclass(frozen=True)
class Relu(_Function):
    """RELU on FLOAT32, by itself."""

    kind: ClassVar[str] = "RELU"
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(_relu)}


@dataclasses.dataclass(frozen=True)
class Relu6(_Function):
    """RELU6 on FLOAT32, by itself."""

    kind: ClassVar[str] = "RELU6"
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(_relu6)}


@dataclasses.dataclass(frozen=True)
class Gelu(_Function):
    """GELU on FLOAT32: x times the normal distribution function, or its tanh approximation."""

    approximate: bool = False
    kind: ClassVar[str] = "GELU"

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.GeluOptionsT()
        options.approximate = self.approximate
        return options, 1

    @classmethod
    def read(cls, options: Any | None, settings: Sequence[np.ndarray]) -> Self:
        return cls(bool(getattr(options, "approximate", False)))


@dataclasses.dataclass(frozen=True)
class LeakyRelu(_Function):
    """LEAKY_RELU on FLOAT32: `slope` x where x is negative, otherwise x; `slope` is a float32."""

    slope: float = 0.25
    kind: ClassVar[str] = "LEAKY_RELU"
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(_leaky_relu)}

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", float(np.float32(self.slope)))

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.LeakyReluOptionsT()
        options.alpha = self.slope
        return options, 1

    @classmethod
    def read(cls, options: Any, settings: Sequence[np.ndarray]) -> Self:
        return cls(float(options.alpha))


@dataclasses.dataclass(frozen=True)
class PRelu(_Function):
    """PRELU of a FLOAT32 tensor [...,C] and constant slopes [1,..,C] or [C]."""

    arity: ClassVar[int | None] = 2
    constants: ClassVar[tuple[int, ...]] = (1,)
    kind: ClassVar[str] = "PRELU"
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(_prelu)}

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        x, slopes = inputs
        fits = slopes[-1:] == x[-1:] and math.prod(slopes) == x[-1]
        require(fits, f"needs one slope for each of {x[-1]} channels, not {slopes}")
        return x


@dataclasses.dataclass(frozen=True)
class Softmax(Operator):
    """SOFTMAX on FLOAT32 over the last axis."""

    kind: ClassVar[str] = "SOFTMAX"
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(run_in_litert)}

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        return options, 1
