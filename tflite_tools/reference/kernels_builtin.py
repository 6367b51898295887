"""Arithmetic of the optimised built-in kernels on x86-64: fixed point, vector body and scalar tail.

The vector bodies (NEON intrinsics mapped to SSE) round half up, the scalar tails round half away
from zero; where the tail begins depends on the channels, the size of the batch or the threads.
Sources: LiteRT tflite/kernels/internal/optimized (optimized_ops.h, integer_ops/*.h).
"""

import numpy as np

from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.integer_graph.operations import OperationKind
from tflite_tools.reference import kernels_copy, kernels_float
from tflite_tools.reference import kernels_reference as scalar
from tflite_tools.reference.node import Node
from tflite_tools.reference.rounding import (
    LIMITS,
    activation_codes_builtin,
    quantize_multiplier,
    round_half_away,
    saturate,
    scale_half_away,
    scale_half_up,
)

#: Elements per step of the vector loops.
_DEPTHWISE_GROUP = 8
_ADD_GROUP = 8
_FLOAT_GROUP = 8
_REQUANTIZE_GROUP = 16
_MEAN_GROUP = 16
_MEAN_CHANNELS_PER_THREAD = 8


def _limits(node: Node) -> tuple[float, float]:
    if node.output.quantization is None:
        return LIMITS[node.attributes.activation]
    return activation_codes_builtin(
        node.attributes.activation, node.output_scale, node.output_zero_point
    )


def _conv_2d(node: Node) -> np.ndarray:
    scaled = scale_half_up(node.conv_2d(), *scalar.linear_multipliers(node))
    return saturate(scaled + node.output_zero_point, *_limits(node))


def _fully_connected(node: Node) -> np.ndarray:
    scaled = scale_half_up(node.fully_connected(), *scalar.linear_multipliers(node))
    return saturate(scaled + node.output_zero_point, *_limits(node))


def _depthwise_conv_2d(node: Node) -> np.ndarray:
    accumulators = node.depthwise_conv_2d()
    multiplier, exponent = scalar.linear_multipliers(node)
    scaled = scale_half_up(accumulators, multiplier, exponent)
    tail = accumulators.shape[-1] // _DEPTHWISE_GROUP * _DEPTHWISE_GROUP
    scaled[..., tail:] = scale_half_away(
        accumulators[..., tail:], multiplier[tail:], exponent[tail:]
    )
    return saturate(scaled + node.output_zero_point, *_limits(node))


def _add(node: Node) -> np.ndarray:
    """The vector loop shifts the inputs before it multiplies them and rounds once."""
    result = scalar.add(node)
    if result.dtype == np.float32:
        return result
    body = result.size // _ADD_GROUP * _ADD_GROUP
    result.reshape(-1)[:body] = scalar.add(node, _scale_shifted).reshape(-1)[:body]
    return result


def _scale_shifted(values, multiplier, exponent) -> np.ndarray:
    return scale_half_up(values >> -exponent, multiplier, np.int64(0))


def _mean(node: Node) -> np.ndarray:
    """With kept axes its own kernel; otherwise the reference one."""
    if not node.attributes.keep_dims:
        return scalar.KERNELS[OperationKind.MEAN](node)
    codes = node.values[0]
    count = np.float32(codes.shape[1] * codes.shape[2])
    shift = np.float32(node.input_zero_point) * node.input_scale / node.output_scale
    half = np.float32(0.5) if shift > 0 else np.float32(-0.5)
    offset = node.output_zero_point - int(np.trunc(shift + half))
    multiplier, exponent = quantize_multiplier(
        np.float64(node.input_scale / (count * node.output_scale))
    )
    totals = codes.sum(axis=(1, 2), keepdims=True, dtype=np.int64)
    scaled = scale_half_away(totals, multiplier, exponent)
    for start, end in _mean_vector_ranges(codes.shape[-1], node.num_threads):
        scaled[..., start:end] = scale_half_up(totals[..., start:end], multiplier, exponent)
    return saturate(scaled + offset)


def _mean_vector_ranges(channels: int, num_threads: int) -> list[tuple[int, int]]:
    """Channel ranges that the vector loop of each thread covers."""
    threads = min(max(channels // _MEAN_CHANNELS_PER_THREAD, 1), num_threads)
    ranges, start = [], 0
    for thread in range(threads):
        end = start + (channels - start) // (threads - thread)
        ranges.append((start, start + (end - start) // _MEAN_GROUP * _MEAN_GROUP))
        start = end
    return ranges


def _max_pool_2d(node: Node) -> np.ndarray:
    return kernels_copy.max_pool_2d(node, *_limits(node))


def _average_pool_2d(node: Node) -> np.ndarray:
    return kernels_copy.average_pool_2d(node, *_limits(node))


def _quantize(node: Node) -> np.ndarray:
    """From float32 the vector loop multiplies by 1/scale, the tail divides in float64."""
    values = node.values[0].reshape(-1)
    group = _FLOAT_GROUP if values.dtype == np.float32 else _REQUANTIZE_GROUP
    body = values.size // group * group
    if values.dtype == np.float32:
        scaled = np.rint(values * (np.float32(1) / node.output_scale))
        scaled[body:] = round_half_away(values[body:].astype(np.float64) / node.output_scale)
    else:
        centred = values.astype(np.int64) - node.input_zero_point
        multipliers = quantize_multiplier(np.float64(node.input_scale) / node.output_scale)
        scaled = scale_half_up(centred, *multipliers)
        scaled[body:] = scale_half_away(centred[body:], *multipliers)
    return saturate(scaled + node.output_zero_point).reshape(node.values[0].shape)


def _dequantize(node: Node) -> np.ndarray:
    """The vector loop adds -zero_point * scale after the product; the tail subtracts first."""
    if node.values[0].dtype == np.uint8:  # has no vector loop
        return scalar.KERNELS[OperationKind.DEQUANTIZE](node)
    codes = node.values[0].reshape(-1).astype(np.float32)
    body = codes.size // _FLOAT_GROUP * _FLOAT_GROUP
    offset = np.float32(-node.input_zero_point * np.float64(node.input_scale))
    result = (codes - np.float32(node.input_zero_point)) * node.input_scale
    result[:body] = codes[:body] * node.input_scale + offset
    return result.reshape(node.values[0].shape)


#: Kernel of every operator.
KERNELS = {
    OperationKind.CONV_2D: _conv_2d,
    OperationKind.DEPTHWISE_CONV_2D: _depthwise_conv_2d,
    OperationKind.FULLY_CONNECTED: _fully_connected,
    OperationKind.ADD: _add,
    OperationKind.MUL: scalar.mul,
    OperationKind.LOGISTIC: kernels_float.by_running(KernelSet.BUILTIN),
    OperationKind.SOFTMAX: kernels_float.by_running(KernelSet.BUILTIN),
    OperationKind.CONCATENATION: kernels_copy.concatenation,
    OperationKind.HARD_SWISH: kernels_float.hard_swish_builtin,
    OperationKind.MEAN: _mean,
    OperationKind.MAX_POOL_2D: _max_pool_2d,
    OperationKind.AVERAGE_POOL_2D: _average_pool_2d,
    OperationKind.QUANTIZE: _quantize,
    OperationKind.DEQUANTIZE: _dequantize,
    OperationKind.RESHAPE: kernels_copy.reshape,
    OperationKind.PAD: kernels_copy.pad,
}
