"""Kernels that move or compare codes without rescaling them; alike in all kernel sets.

Only the limits of a fused activation differ, so the pools take them as arguments.
"""

import numpy as np

from tflite_tools.reference.accumulators import spatial_padding
from tflite_tools.reference.node import Node
from tflite_tools.reference.rounding import INT8_MIN, saturate


def reshape(node: Node) -> np.ndarray:
    """RESHAPE; the batch stays."""
    codes = node.values[0]
    return codes.reshape(codes.shape[0], *node.output.shape[1:])


def concatenation(node: Node) -> np.ndarray:
    """CONCATENATION of tensors of one scale."""
    return np.concatenate(node.values, axis=node.attributes.axis)


def pad(node: Node) -> np.ndarray:
    """PAD with real zero."""
    sides = ((0, 0), node.attributes.height, node.attributes.width, (0, 0))
    is_float = node.inputs[0].quantization is None
    return np.pad(node.values[0], sides, constant_values=0 if is_float else node.input_zero_point)


def max_pool_2d(node: Node, low: int, high: int) -> np.ndarray:
    """MAX_POOL_2D with output limits in codes, or in real values of float tensors."""
    if node.values[0].dtype == np.float32:
        largest = _windows(node, node.values[0], -np.inf).max(axis=(-2, -1))
        return np.clip(largest, np.float32(low), np.float32(high))
    return saturate(_windows(node, node.values[0], INT8_MIN).max(axis=(-2, -1)), low, high)


def average_pool_2d(node: Node, low: int, high: int) -> np.ndarray:
    """AVERAGE_POOL_2D: integer mean of the codes inside the image, ties away from zero."""
    codes = node.values[0].astype(np.int32)
    totals = _windows(node, codes, 0).sum(axis=(-2, -1), dtype=np.int32)
    inside = np.ones((1, *codes.shape[1:3], 1), np.int32)
    counts = _windows(node, inside, 0).sum(axis=(-2, -1), dtype=np.int32)
    means = np.where(
        totals > 0, (totals + counts // 2) // counts, -((counts // 2 - totals) // counts)
    )
    return saturate(means, low, high)


def _windows(node: Node, values: np.ndarray, filler: int) -> np.ndarray:
    height, width = spatial_padding(values.shape[1:3], node.attributes.window, node.attributes)
    padded = np.pad(values, ((0, 0), height, width, (0, 0)), constant_values=filler)
    view = np.lib.stride_tricks.sliding_window_view(padded, node.attributes.window, axis=(1, 2))
    return view[:, :: node.attributes.strides[0], :: node.attributes.strides[1]]
