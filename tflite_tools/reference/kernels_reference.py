"""Arithmetic of the reference kernels (BUILTIN_REF): fixed point, ties away from zero.

Sources: LiteRT tflite/kernels/internal/reference (integer_ops/*.h, reduce.h, quantize.h),
tflite/kernels/add.cc.
"""

import numpy as np

from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.integer_graph.operations import OperationKind
from tflite_tools.reference import kernels_copy, kernels_float
from tflite_tools.reference.node import Node
from tflite_tools.reference.rounding import (
    LIMITS,
    activation_codes_builtin,
    quantize_multiplier,
    round_half_away,
    saturate,
    scale_half_away,
)

_ADD_LEFT_SHIFT = 20


def linear_multipliers(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """(q, exponent) of sx * sw[c] / sy per output channel, combined in float64."""
    return quantize_multiplier(real_multipliers(node))


def real_multipliers(node: Node) -> np.ndarray:
    """sx * sw[c] / sy per output channel, float64."""
    scales = np.float64(node.input_scale) * node.weight_scales.astype(np.float64)
    return scales / np.float64(node.output_scale)


def _limits(node: Node) -> tuple[float, float]:
    if node.output.quantization is None:
        return LIMITS[node.attributes.activation]
    return activation_codes_builtin(
        node.attributes.activation, node.output_scale, node.output_zero_point
    )


def _conv_2d(node: Node) -> np.ndarray:
    scaled = scale_half_away(node.conv_2d(), *linear_multipliers(node))
    return saturate(scaled + node.output_zero_point, *_limits(node))


def _depthwise_conv_2d(node: Node) -> np.ndarray:
    scaled = scale_half_away(node.depthwise_conv_2d(), *linear_multipliers(node))
    return saturate(scaled + node.output_zero_point, *_limits(node))


def _fully_connected(node: Node) -> np.ndarray:
    """One rounding of a float64 product, no fixed point."""
    scaled = round_half_away(node.fully_connected().astype(np.float64) * real_multipliers(node))
    return saturate(scaled + node.output_zero_point, *_limits(node))


def add(node: Node, scale_input=scale_half_away) -> np.ndarray:
    """ADD of the built-in and the reference kernels: inputs << 20, three Q31 products.

    `scale_input` rounds the products of the inputs.
    """
    if node.values[0].dtype == np.float32:
        return kernels_float.add(node)
    scales = [np.float64(tensor.quantization.scale) for tensor in node.inputs]
    twice_max = 2.0 * max(scales)
    total = np.int64(0)
    for tensor, codes, scale in zip(node.inputs, node.values, scales, strict=True):
        centred = codes.astype(np.int64) - tensor.quantization.zero_point
        total = total + scale_input(
            centred << _ADD_LEFT_SHIFT, *quantize_multiplier(scale / twice_max)
        )
    output_scale = (1 << _ADD_LEFT_SHIFT) * np.float64(node.output_scale)
    scaled = scale_half_away(total, *quantize_multiplier(twice_max / output_scale))
    return saturate(scaled + node.output_zero_point, *_limits(node))


def mul(node: Node) -> np.ndarray:
    """MUL of the built-in and the reference kernels; the multiplier is a float32 product."""
    if node.values[0].dtype == np.float32:
        return kernels_float.mul(node)
    left, right = (tensor.quantization for tensor in node.inputs)
    products = np.multiply(
        node.values[0].astype(np.int64) - left.zero_point,
        node.values[1].astype(np.int64) - right.zero_point,
    )
    multipliers = quantize_multiplier(left.scale * right.scale / node.output_scale)
    scaled = scale_half_away(products, *multipliers)
    return saturate(scaled + node.output_zero_point, *_limits(node))


def _mean(node: Node) -> np.ndarray:
    """The 1/count is folded into q by an integer division, which truncates."""
    codes = node.values[0]
    count = codes.shape[1] * codes.shape[2]
    multiplier, exponent = (
        int(part) for part in quantize_multiplier(np.float64(node.input_scale) / node.output_scale)
    )
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    multiplier = (multiplier << shift) // count
    totals = codes.sum(axis=(1, 2), keepdims=node.attributes.keep_dims, dtype=np.int64)
    centred = totals - node.input_zero_point * count
    scaled = scale_half_away(centred, np.int64(multiplier), np.int64(exponent - shift))
    return saturate(scaled + node.output_zero_point)


def _max_pool_2d(node: Node) -> np.ndarray:
    return kernels_copy.max_pool_2d(node, *_limits(node))


def _average_pool_2d(node: Node) -> np.ndarray:
    return kernels_copy.average_pool_2d(node, *_limits(node))


def _quantize(node: Node) -> np.ndarray:
    values = node.values[0]
    if values.dtype == np.float32:
        scaled = round_half_away(values / node.output_scale)
    else:
        multipliers = quantize_multiplier(np.float64(node.input_scale) / node.output_scale)
        scaled = scale_half_away(values.astype(np.int64) - node.input_zero_point, *multipliers)
    return saturate(scaled + node.output_zero_point)


def _dequantize(node: Node) -> np.ndarray:
    centred = node.values[0].astype(np.float32) - np.float32(node.input_zero_point)
    return centred * node.input_scale


#: Kernel of every operator.
KERNELS = {
    OperationKind.CONV_2D: _conv_2d,
    OperationKind.DEPTHWISE_CONV_2D: _depthwise_conv_2d,
    OperationKind.FULLY_CONNECTED: _fully_connected,
    OperationKind.ADD: add,
    OperationKind.MUL: mul,
    OperationKind.LOGISTIC: kernels_float.by_running(KernelSet.REFERENCE),
    OperationKind.SOFTMAX: kernels_float.by_running(KernelSet.REFERENCE),
    OperationKind.CONCATENATION: kernels_copy.concatenation,
    OperationKind.HARD_SWISH: kernels_float.hard_swish_reference,
    OperationKind.MEAN: _mean,
    OperationKind.MAX_POOL_2D: _max_pool_2d,
    OperationKind.AVERAGE_POOL_2D: _average_pool_2d,
    OperationKind.QUANTIZE: _quantize,
    OperationKind.DEQUANTIZE: _dequantize,
    OperationKind.RESHAPE: kernels_copy.reshape,
    OperationKind.PAD: kernels_copy.pad,
}
