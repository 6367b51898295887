"""Arithmetic of the XNNPACK delegate on x86-64: mostly float32, ties to even.

Sources: XNNPACK src/microparams-init.c, src/operators/reduce-nd.c, src/xnnpack/requantization.h.
"""

import math

import numpy as np

from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.integer_graph.operations import OperationKind
from tflite_tools.reference import kernels_copy, kernels_float
from tflite_tools.reference.node import Node
from tflite_tools.reference.rounding import LIMITS, activation_codes_xnnpack, saturate


def _limits(node: Node) -> tuple[float, float]:
    if node.output.quantization is None:
        return LIMITS[node.attributes.activation]
    return activation_codes_xnnpack(
        node.attributes.activation, node.output_scale, node.output_zero_point
    )


def _linear(node: Node, accumulators: np.ndarray) -> np.ndarray:
    """rint(f32(acc) * (sx * sw[c] / sy)) + zy."""
    scales = node.input_scale * node.weight_scales / node.output_scale
    scaled = accumulators.astype(np.float32)
    scaled *= scales
    np.rint(scaled, out=scaled)
    scaled += np.float32(node.output_zero_point)
    return saturate(scaled, *_limits(node))


def _conv_2d(node: Node) -> np.ndarray:
    return _linear(node, node.conv_2d())


def _depthwise_conv_2d(node: Node) -> np.ndarray:
    return _linear(node, node.depthwise_conv_2d())


def _fully_connected(node: Node) -> np.ndarray:
    return _linear(node, node.fully_connected())


def _add(node: Node) -> np.ndarray:
    """Common fixed-point multipliers of about 20 bits, one rounding, half up."""
    if node.values[0].dtype == np.float32:
        return kernels_float.add(node)
    left, right = (tensor.quantization for tensor in node.inputs)
    ratios = [left.scale / node.output_scale, right.scale / node.output_scale]
    shift = 20 - (math.frexp(float(max(ratios)))[1] - 1)
    total = np.int64(1) << (shift - 1)
    for codes, quantization, ratio in zip(node.values, (left, right), ratios, strict=True):
        multiplier = int(np.rint(np.ldexp(ratio, shift)))
        total = total + (codes.astype(np.int64) - quantization.zero_point) * multiplier
    return saturate((total >> shift) + node.output_zero_point, *_limits(node))


def _mul(node: Node) -> np.ndarray:
    """One float32 multiplier, ties to even."""
    if node.values[0].dtype == np.float32:
        return kernels_float.mul(node)
    left, right = (tensor.quantization for tensor in node.inputs)
    products = np.multiply(
        node.values[0].astype(np.int32) - left.zero_point,
        node.values[1].astype(np.int32) - right.zero_point,
    )
    scaled = products.astype(np.float32)
    scaled *= left.scale * right.scale / node.output_scale
    return saturate(np.rint(scaled) + np.float32(node.output_zero_point), *_limits(node))


def _mean(node: Node) -> np.ndarray:
    """Zero points are folded into one float32 offset before the rounding."""
    codes = node.values[0]
    count = np.float32(codes.shape[1] * codes.shape[2])
    scale = (node.input_scale / node.output_scale) * (np.float32(1) / count)
    offset = np.float32(node.output_zero_point) - count * np.float32(node.input_zero_point) * scale
    totals = codes.sum(axis=(1, 2), keepdims=node.attributes.keep_dims, dtype=np.int64)
    return saturate(np.rint(totals.astype(np.float32) * scale + offset))


def _max_pool_2d(node: Node) -> np.ndarray:
    return kernels_copy.max_pool_2d(node, *_limits(node))


def _quantize(node: Node) -> np.ndarray:
    """From float32 by a product with 1/scale; from int8 with the scale ratio in 8.8 bits."""
    values = node.values[0]
    if values.dtype == np.float32:
        scaled = np.rint(values * (np.float32(1) / node.output_scale))
        return saturate(scaled + np.float32(node.output_zero_point))
    multiplier = int(np.rint(np.float32(256) * (node.input_scale / node.output_scale)))
    scaled = (values.astype(np.int32) - node.input_zero_point) * multiplier + 128
    return saturate((scaled >> 8) + node.output_zero_point)


def _dequantize(node: Node) -> np.ndarray:
    centred = node.values[0].astype(np.float32) - np.float32(node.input_zero_point)
    return centred * node.input_scale


#: Kernel of each operator that XNNPACK takes.
KERNELS = {
    OperationKind.CONV_2D: _conv_2d,
    OperationKind.DEPTHWISE_CONV_2D: _depthwise_conv_2d,
    OperationKind.FULLY_CONNECTED: _fully_connected,
    OperationKind.ADD: _add,
    OperationKind.MUL: _mul,
    OperationKind.LOGISTIC: kernels_float.by_running(KernelSet.XNNPACK),
    OperationKind.SOFTMAX: kernels_float.by_running(KernelSet.XNNPACK),
    OperationKind.CONCATENATION: kernels_copy.concatenation,
    OperationKind.HARD_SWISH: kernels_float.hard_swish_xnnpack,
    OperationKind.MEAN: _mean,
    OperationKind.MAX_POOL_2D: _max_pool_2d,
    OperationKind.QUANTIZE: _quantize,
    OperationKind.DEQUANTIZE: _dequantize,
    OperationKind.RESHAPE: kernels_copy.reshape,
    OperationKind.PAD: kernels_copy.pad,
}
