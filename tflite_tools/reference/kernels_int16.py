"""Arithmetic of the kernels with INT16 activations; XNNPACK has none.

With an INT64 bias, convolutions scale a 64-bit sum by a multiplier of 15 bits. With an INT32 bias
(`quantizedBiasType`) they round as with INT8 activations, much faster, but the sum has to fit 32
bits. Sources: LiteRT tflite/kernels (conv.cc, depthwise_conv.cc, fully_connected.cc),
internal/common.h, internal/reference/integer_ops.
"""

import numpy as np

from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.integer_graph.operations import OperationKind
from tflite_tools.integer_graph.tensors import DataType
from tflite_tools.reference import kernels_reference as scalar
from tflite_tools.reference.node import Node
from tflite_tools.reference.rounding import (
    activation_codes_builtin,
    round_half_away,
    saturate,
    scale_half_away,
    scale_half_up,
    scale_reduced,
)

#: Elements per step of the vector loop.
_FLOAT_GROUP = 8


def _written(node: Node, scaled: np.ndarray) -> np.ndarray:
    limits = activation_codes_builtin(
        node.attributes.activation, node.output_scale, 0, node.output.dtype.limits
    )
    return saturate(scaled, *limits, np.int16)


def _has_wide_bias(node: Node) -> bool:
    return node.inputs[2].dtype is DataType.INT64


def _conv_2d(node: Node, scale) -> np.ndarray:
    scale = scale_reduced if _has_wide_bias(node) else scale
    return _written(node, scale(node.conv_2d(), *scalar.linear_multipliers(node)))


def _depthwise_conv_2d(node: Node) -> np.ndarray:
    accumulators = node.depthwise_conv_2d()
    return _written(node, scale_reduced(accumulators, *scalar.linear_multipliers(node)))


def _fully_connected(node: Node) -> np.ndarray:
    """One rounding of a float64 product, no fixed point."""
    products = node.fully_connected().astype(np.float64) * scalar.real_multipliers(node)
    return _written(node, round_half_away(products))


def _fully_connected_builtin(node: Node) -> np.ndarray:
    if _has_wide_bias(node):
        return _fully_connected(node)
    scaled = scale_half_up(node.fully_connected(), *scalar.linear_multipliers(node))
    return _written(node, scaled)


def _quantize_builtin(node: Node) -> np.ndarray:
    """The vector loop multiplies by 1/scale, the tail divides in float64."""
    values = node.values[0].reshape(-1)
    body = values.size // _FLOAT_GROUP * _FLOAT_GROUP
    scaled = np.rint(values * (np.float32(1) / node.output_scale))
    scaled[body:] = round_half_away(values[body:].astype(np.float64) / node.output_scale)
    codes = saturate(scaled, *node.output.dtype.limits, np.int16)
    return codes.reshape(node.values[0].shape)


def _quantize_reference(node: Node) -> np.ndarray:
    scaled = round_half_away(node.values[0] / node.output_scale)
    return saturate(scaled, *node.output.dtype.limits, np.int16)


def _dequantize(node: Node) -> np.ndarray:
    return node.values[0].astype(np.float32) * node.input_scale


_ALIKE = {
    OperationKind.DEPTHWISE_CONV_2D: _depthwise_conv_2d,
    OperationKind.DEQUANTIZE: _dequantize,
}

#: Kernel of every operator with an INT16 input or output, by kernel set.
KERNELS = {
    KernelSet.BUILTIN: _ALIKE
    | {
        OperationKind.CONV_2D: lambda node: _conv_2d(node, scale_half_up),
        OperationKind.FULLY_CONNECTED: _fully_connected_builtin,
        OperationKind.QUANTIZE: _quantize_builtin,
    },
    KernelSet.REFERENCE: _ALIKE
    | {
        OperationKind.CONV_2D: lambda node: _conv_2d(node, scale_half_away),
        OperationKind.FULLY_CONNECTED: _fully_connected,
        OperationKind.QUANTIZE: _quantize_reference,
    },
}
