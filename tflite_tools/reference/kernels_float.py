"""Kernels on float32 tensors: the order of operations decides the last bit.

Sources: XNNPACK src/f32-vhswish (fused multiply-add), LiteRT tflite/kernels/internal/reference
(hard_swish.h) and optimized (optimized_ops.h).
"""

import numpy as np

from tflite_tools.reference.node import Node

_SIXTH = np.float32(1 / 6)


def hard_swish_xnnpack(node: Node) -> np.ndarray:
    """HARD_SWISH: x times the clipped fma(x, 1/6, 1/2)."""
    values = node.values[0]
    # Exact in float64 up to its last bit, and rounded to float32 once, like the fused operation.
    gate = (values.astype(np.float64) * np.float64(_SIXTH) + 0.5).astype(np.float32)
    return np.clip(gate, np.float32(0), np.float32(1)) * values


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
