"""Operators that bring a tensor onto a grid, or off it.

Sources: XNNPACK src/microparams-init.c; LiteRT tflite/kernels (quantize.cc, dequantize.cc),
internal/optimized/optimized_ops.h, internal/reference (quantize.h, requantize.h).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from quantize_configs.kernels.multipliers import quantize_multiplier
from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.arithmetic.node import Node
from tflite_tools.arithmetic.rounding import (
    multiply_add,
    round_half_away,
    saturate,
    scale_half_away,
    scale_half_up,
)
from tflite_tools.integer_graph.tensors import DataType, Tensor
from tflite_tools.operators.operator import Arithmetic, KernelTable, Operator, alike, version_of

_FLOAT_GROUP = 8
_REQUANTIZE_GROUP = 16
"""Elements per step of the vector loops."""

_DEQUANTIZE_VERSIONS = {DataType.INT8: 2, DataType.INT16: 3, DataType.FLOAT16: 3}


def _written(node: Node, steps: np.ndarray) -> np.ndarray:
    """Codes of the output, from whole steps of its grid."""
    dtype = node.output.dtype
    return saturate(steps, *dtype.limits, dtype.numpy_type.type)


def _xnnpack_quantize(node: Node) -> np.ndarray:
    """From float32 by a product with 1/scale; from int8 with the scale ratio in 8.8 bits."""
    values = node.values[0]
    if values.dtype == np.float32:
        scaled = np.rint(values * (np.float32(1) / node.output_scale))
        return saturate(scaled + np.float32(node.output_zero_point))
    multiplier = int(np.rint(np.float32(256) * (node.input_scale / node.output_scale)))
    scaled = (values.astype(np.int32) - node.input_zero_point) * multiplier + 128
    return saturate((scaled >> 8) + node.output_zero_point)


def _builtin_steps(node: Node) -> np.ndarray:
    """Float32 values in steps: the vector loop multiplies by 1/scale, the tail divides."""
    values = node.values[0].reshape(-1)
    body = values.size // _FLOAT_GROUP * _FLOAT_GROUP
    scaled = np.rint(values * (np.float32(1) / node.output_scale))
    scaled[body:] = round_half_away(values[body:].astype(np.float64) / node.output_scale)
    return scaled.reshape(node.values[0].shape)


def _builtin_quantize(node: Node) -> np.ndarray:
    values = node.values[0].reshape(-1)
    if values.dtype == np.float32:
        return _written(node, _builtin_steps(node) + node.output_zero_point)
    body = values.size // _REQUANTIZE_GROUP * _REQUANTIZE_GROUP
    centred = values.astype(np.int64) - node.input_zero_point
    multipliers = quantize_multiplier(np.float64(node.input_scale) / node.output_scale)
    scaled = scale_half_up(centred, *multipliers)
    scaled[body:] = scale_half_away(centred[body:], *multipliers)
    return _written(node, scaled + node.output_zero_point).reshape(node.values[0].shape)


def _reference_quantize(node: Node) -> np.ndarray:
    values = node.values[0]
    if values.dtype == np.float32:
        scaled = round_half_away(values / node.output_scale)
    else:
        multipliers = quantize_multiplier(np.float64(node.input_scale) / node.output_scale)
        scaled = scale_half_away(values.astype(np.int64) - node.input_zero_point, *multipliers)
    return _written(node, scaled + node.output_zero_point)


def _builtin_quantize_wide(node: Node) -> np.ndarray:
    return _written(node, _builtin_steps(node))


def _reference_quantize_wide(node: Node) -> np.ndarray:
    return _written(node, round_half_away(node.values[0] / node.output_scale))


def _dequantize(node: Node) -> np.ndarray:
    centred = node.values[0].astype(np.float32) - np.float32(node.input_zero_point)
    return centred * node.input_scale


def _builtin_dequantize(node: Node) -> np.ndarray:
    """The vector loop adds -zero_point * scale after the product; the tail subtracts first."""
    codes = node.values[0].reshape(-1).astype(np.float32)
    body = codes.size // _FLOAT_GROUP * _FLOAT_GROUP
    offset = np.float32(-node.input_zero_point * np.float64(node.input_scale))
    result = (codes - np.float32(node.input_zero_point)) * node.input_scale
    fused = node.processor is Processor.ARM64
    result[:body] = multiply_add(codes[:body], node.input_scale, offset, fused)
    return result.reshape(node.values[0].shape)


@dataclasses.dataclass(frozen=True)
class Quantize(Operator):
    """QUANTIZE: FLOAT32 to INT8 or INT16, or INT8 or UINT8 to either with another grid."""

    kind: ClassVar[str] = "QUANTIZE"
    is_pointwise: ClassVar[bool] = True
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: {
            KernelSet.XNNPACK: _xnnpack_quantize,
            KernelSet.BUILTIN: _builtin_quantize,
            KernelSet.REFERENCE: _reference_quantize,
        },
        Arithmetic.INT16: {
            KernelSet.BUILTIN: _builtin_quantize_wide,
            KernelSet.REFERENCE: _reference_quantize_wide,
        },
    }

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        return schema.QuantizeOptionsT(), 2 if output.dtype is DataType.INT16 else 1


@dataclasses.dataclass(frozen=True)
class Dequantize(Operator):
    """DEQUANTIZE: INT8, INT16 or UINT8 to FLOAT32."""

    kind: ClassVar[str] = "DEQUANTIZE"
    is_pointwise: ClassVar[bool] = True
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: {
            KernelSet.XNNPACK: _dequantize,
            KernelSet.BUILTIN: _builtin_dequantize,
            KernelSet.REFERENCE: _dequantize,
        },
        Arithmetic.INT16: alike(_dequantize),
    }

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        return schema.DequantizeOptionsT(), version_of(_DEQUANTIZE_VERSIONS, inputs[0])
