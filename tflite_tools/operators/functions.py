"""Functions of floats: the order of operations decides the last bit.

LOGISTIC and SOFTMAX take polynomials that differ by kernel set and processor.

Sources: XNNPACK src/f32-vhswish (fused multiply-add), LiteRT tflite/kernels/internal/reference
(hard_swish.h) and optimized (optimized_ops.h).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tflite_tools.arithmetic.kernel_sets import KernelSet
from tflite_tools.arithmetic.node import Node
from tflite_tools.arithmetic.rounding import plus_half
from tflite_tools.integer_graph.tensors import Tensor
from tflite_tools.operators.operator import Arithmetic, KernelTable, Operator, alike, run_in_litert

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
class Logistic(Operator):
    """LOGISTIC on FLOAT32: 1 / (1 + exp(-x))."""

    kind: ClassVar[str] = "LOGISTIC"
    is_pointwise: ClassVar[bool] = True
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(run_in_litert)}

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[None, int]:
        return None, 1


@dataclasses.dataclass(frozen=True)
class Softmax(Operator):
    """SOFTMAX on FLOAT32 over the last axis."""

    kind: ClassVar[str] = "SOFTMAX"
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(run_in_litert)}

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        return options, 1
