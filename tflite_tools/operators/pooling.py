"""Operators that reduce height and width: pools over windows, and over the whole image.

Sources: XNNPACK src/operators/reduce-nd.c, src/microparams-init.c; LiteRT tflite/kernels/internal
(reduce.h, pooling.h), optimized/integer_ops/mean.h.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from quantize_configs.kernels.multipliers import quantize_multiplier
from tflite_tools.arithmetic.accumulators import Windows
from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.arithmetic.node import Node
from tflite_tools.arithmetic.rounding import (
    INT8_MIN,
    multiply_add,
    saturate,
    scale_half_away,
    scale_half_up,
)
from tflite_tools.integer_graph.tensors import DataType, Tensor
from tflite_tools.operators.operator import (
    Arithmetic,
    Kernel,
    KernelTable,
    Operator,
    alike,
    run_in_litert,
)
from tflite_tools.operators.options import read_window, set_window
from tflite_tools.operators.settings import (
    Activation,
    Padding,
    Shape,
    check_pair,
    require,
    require_image,
    windowed,
)

AXES = (1, 2)
"""Height and width, the only axes that are reduced."""

_MEAN_GROUP = 16
_MEAN_CHANNELS_PER_THREAD = 8


def _xnnpack_mean(node: Node) -> np.ndarray:
    """Zero points are folded into one float32 offset before the rounding.

    Compilers for ARM64 fuse both products with their sums.
    """
    codes, fused = node.values[0], node.processor is Processor.ARM64
    count = np.float32(codes.shape[1] * codes.shape[2])
    scale = (node.input_scale / node.output_scale) * (np.float32(1) / count)
    zero = -count * np.float32(node.input_zero_point)
    offset = multiply_add(zero, scale, node.output_zero_point, fused)
    totals = codes.sum(axis=AXES, keepdims=node.attributes.keep_dims, dtype=np.int64)
    return saturate(np.rint(multiply_add(totals.astype(np.float32), scale, offset, fused)))


def _reference_mean(node: Node) -> np.ndarray:
    """The 1/count is folded into q by an integer division, which truncates."""
    codes = node.values[0]
    count = codes.shape[1] * codes.shape[2]
    multiplier, exponent = (
        int(part) for part in quantize_multiplier(np.float64(node.input_scale) / node.output_scale)
    )
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    multiplier = (multiplier << shift) // count
    totals = codes.sum(axis=AXES, keepdims=node.attributes.keep_dims, dtype=np.int64)
    centred = totals - node.input_zero_point * count
    scaled = scale_half_away(centred, np.int64(multiplier), np.int64(exponent - shift))
    return saturate(scaled + node.output_zero_point)


def _builtin_mean(node: Node) -> np.ndarray:
    """With kept axes its own kernel; otherwise the reference one."""
    if not node.attributes.keep_dims:
        return _reference_mean(node)
    codes = node.values[0]
    count = np.float32(codes.shape[1] * codes.shape[2])
    shift = np.float32(node.input_zero_point) * node.input_scale / node.output_scale
    half = np.float32(0.5) if shift > 0 else np.float32(-0.5)
    offset = node.output_zero_point - int(np.trunc(shift + half))
    multiplier, exponent = quantize_multiplier(
        np.float64(node.input_scale / (count * node.output_scale))
    )
    totals = codes.sum(axis=AXES, keepdims=True, dtype=np.int64)
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


def _max_pool_2d(kernel_set: KernelSet) -> Kernel:
    """Only the limits of a fused activation differ between kernel sets."""

    def kernel(node: Node) -> np.ndarray:
        low, high = node.limits(kernel_set)
        windows = node.attributes.windows
        if node.values[0].dtype == np.float32:
            largest = windows.view(node.values[0], -np.inf).max(axis=(-2, -1))
            return np.clip(largest, np.float32(low), np.float32(high))
        return saturate(windows.view(node.values[0], INT8_MIN).max(axis=(-2, -1)), low, high)

    return kernel


def _average_pool_2d(node: Node) -> np.ndarray:
    """Integer mean of the codes inside the image, ties away from zero."""
    codes = node.values[0].astype(np.int32)
    windows = node.attributes.windows
    totals = windows.view(codes).sum(axis=(-2, -1), dtype=np.int32)
    inside = np.ones((1, *codes.shape[1:3], 1), np.int32)
    counts = windows.view(inside).sum(axis=(-2, -1), dtype=np.int32)
    means = np.where(
        totals > 0, (totals + counts // 2) // counts, -((counts // 2 - totals) // counts)
    )
    return saturate(means, *node.limits(KernelSet.BUILTIN))


def _reduce_max(node: Node) -> np.ndarray:
    return node.values[0].max(axis=node.attributes.axes, keepdims=node.attributes.keep_dims)


_MAX_POOL_KERNELS = {kernel_set: _max_pool_2d(kernel_set) for kernel_set in KernelSet}


@dataclasses.dataclass(frozen=True)
class _Reduction(Operator):
    """Reduces axes, which stay with size 1 with `keep_dims`."""

    keep_dims: bool = False
    axes: tuple[int, ...] = AXES

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        shape = inputs[0]
        fits = all(1 <= axis < len(shape) for axis in self.axes)
        require(fits, f"needs an input with the axes {self.axes}, not {shape}")
        sizes = (1 if axis in self.axes else size for axis, size in enumerate(shape))
        if self.keep_dims:
            return tuple(sizes)
        return tuple(size for axis, size in enumerate(shape) if axis not in self.axes)

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.ReducerOptionsT()
        options.keepDims = self.keep_dims
        return options, 1 if inputs[0].dtype is DataType.FLOAT32 else 2

    def settings(self, output: Tensor) -> tuple[np.ndarray, ...]:
        return (np.array(self.axes, np.int32),)

    @classmethod
    def read(cls, options: Any | None, settings: Sequence[np.ndarray]) -> Self:
        return cls(bool(getattr(options, "keepDims", False)), tuple(settings[0].tolist()))


@dataclasses.dataclass(frozen=True)
class Mean(_Reduction):
    """MEAN over height and width of [1,H,W,C], or over any axes of FLOAT32."""

    kind: ClassVar[str] = "MEAN"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: {
            KernelSet.XNNPACK: _xnnpack_mean,
            KernelSet.BUILTIN: _builtin_mean,
            KernelSet.REFERENCE: _reference_mean,
        },
        Arithmetic.FLOAT32: alike(run_in_litert),
    }

    def check(self, inputs: Sequence[Tensor], output: Tensor) -> None:
        is_float = inputs[0].dtype is DataType.FLOAT32
        require(
            is_float or self.axes == AXES,
            f"of integers needs the axes {AXES}, height and width, not {self.axes}",
        )


@dataclasses.dataclass(frozen=True)
class ReduceMax(_Reduction):
    """REDUCE_MAX over height and width of [1,H,W,C]: [1,1,1,C] with `keep_dims`, else [1,C]."""

    kind: ClassVar[str] = "REDUCE_MAX"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: alike(_reduce_max),
        Arithmetic.FLOAT32: alike(_reduce_max),
    }


@dataclasses.dataclass(frozen=True)
class _Pool2D(Operator):
    """A pool over windows of [1,H,W,C]."""

    window: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)
    padding: Padding = Padding.VALID
    activation: Activation = Activation.NONE

    def __post_init__(self) -> None:
        check_pair(self, "window")
        check_pair(self, "strides")

    @property
    def windows(self) -> Windows:
        """The sliding window."""
        return Windows(self.window, self.strides, self.padding)

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        require_image(inputs[0])
        return windowed(inputs[0], self.window, self.strides, self.padding, inputs[0][3])

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.Pool2DOptionsT()
        set_window(schema, options, self)
        options.filterHeight, options.filterWidth = self.window
        return options, 2

    @classmethod
    def read(cls, options: Any, settings: Sequence[np.ndarray]) -> Self:
        return cls((int(options.filterHeight), int(options.filterWidth)), *read_window(options))


@dataclasses.dataclass(frozen=True)
class MaxPool2D(_Pool2D):
    """MAX_POOL_2D of [1,H,W,C]; padding never wins."""

    kind: ClassVar[str] = "MAX_POOL_2D"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: _MAX_POOL_KERNELS,
        Arithmetic.FLOAT32: _MAX_POOL_KERNELS,
    }


@dataclasses.dataclass(frozen=True)
class AveragePool2D(_Pool2D):
    """AVERAGE_POOL_2D of [1,H,W,C]; padding is not counted."""

    kind: ClassVar[str] = "AVERAGE_POOL_2D"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: {
            KernelSet.BUILTIN: _average_pool_2d,
            KernelSet.REFERENCE: _average_pool_2d,
        },
        Arithmetic.FLOAT32: alike(run_in_litert),
    }
