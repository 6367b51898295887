"""Kernels on float32 tensors: the order of operations decides the last bit.

LOGISTIC and SOFTMAX take polynomials, and convolutions and FULLY_CONNECTED add up in orders, that
differ by kernel set and processor; they are computed by running the operator alone.

Sources: XNNPACK src/f32-vhswish (fused multiply-add), LiteRT tflite/kernels/internal/reference
(hard_swish.h) and optimized (optimized_ops.h).
"""

from collections.abc import Callable

import numpy as np

from tflite_tools.flatbuffer.runtime import KernelSet, run
from tflite_tools.integer_graph.graph import IntegerGraph
from tflite_tools.integer_graph.operations import Activation
from tflite_tools.integer_graph.tensors import DataType
from tflite_tools.reference.node import Node
from tflite_tools.reference.rounding import LIMITS

_SIXTH = np.float32(1 / 6)


def add(node: Node) -> np.ndarray:
    """ADD of a tensor and a constant, or of two tensors."""
    return _clipped(node.values[0] + node.values[1], node.attributes.activation)


def mul(node: Node) -> np.ndarray:
    """MUL of a tensor and a constant, or of two tensors."""
    return _clipped(node.values[0] * node.values[1], node.attributes.activation)


def by_running(kernel_set: KernelSet) -> Callable[[Node], np.ndarray]:
    """The kernel of an operator on one FLOAT32 tensor and constants, as LiteRT computes it."""

    def kernel(node: Node) -> np.ndarray:
        from tflite_tools.flatbuffer.emitter import emit

        values = np.ascontiguousarray(node.values[0])
        graph = IntegerGraph()
        x = graph.add_input("x", (1, *values.shape[1:]), DataType.FLOAT32)
        y = graph.add_tensor("y", node.output.shape, DataType.FLOAT32)
        constants = [
            graph.add_constant(tensor.name, tensor.data, tensor.dtype) for tensor in node.inputs[1:]
        ]
        graph.add_operation("y", node.attributes, [x, *constants], [y])
        graph.outputs.append(y)
        return run(emit(graph), [values], kernel_set, node.num_threads).outputs[y]

    return kernel


def hard_swish_xnnpack(node: Node) -> np.ndarray:
    """HARD_SWISH: x times the clipped fma(x, 1/6, 1/2)."""
    values = node.values[0]
    gate = _plus_half(values.astype(np.float64) * np.float64(_SIXTH)).astype(np.float32)
    return np.clip(gate, np.float32(0), np.float32(1)) * values


def _plus_half(products: np.ndarray) -> np.ndarray:
    """`products + 0.5`, which rounds to the same float32 as the exact sum.

    What float64 cannot hold is rounded to odd: the last bit is set wherever something was cut off.
    (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008.)
    """
    sums = products + 0.5
    kept = sums - products
    lost = (products - (sums - kept)) + (0.5 - kept)
    is_even = sums.view(np.int64) & 1 == 0
    inexact = (lost != 0) & is_even
    sums[inexact] = np.nextafter(sums[inexact], np.copysign(np.inf, lost[inexact]))
    return sums


def hard_swish_builtin(node: Node) -> np.ndarray:
    """HARD_SWISH: x / 6, as a product, times the clipped x + 3."""
    values = node.values[0]
    return values * _SIXTH * _clipped_sum(values)


def hard_swish_reference(node: Node) -> np.ndarray:
    """HARD_SWISH: x times the clipped x + 3, divided by 6."""
    values = node.values[0]
    return values * _clipped_sum(values) / np.float32(6)


def _clipped_sum(values: np.ndarray) -> np.ndarray:
    return np.clip(values + np.float32(3), np.float32(0), np.float32(6))


def _clipped(values: np.ndarray, activation: Activation) -> np.ndarray:
    low, high = LIMITS[activation]
    return np.clip(values, np.float32(low), np.float32(high))
