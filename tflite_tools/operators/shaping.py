"""Operators that change the shape of a tensor: most move codes, alike in all kernel sets."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from quantize_configs.errors import InvalidInputError
from tflite_tools.arithmetic.node import Node
from tflite_tools.integer_graph.tensors import Tensor
from tflite_tools.operators.operator import Arithmetic, KernelTable, Operator, alike, run_in_litert
from tflite_tools.operators.settings import Shape, check_pair, require, require_image


def _reshape(node: Node) -> np.ndarray:
    codes = node.values[0]
    return codes.reshape(codes.shape[0], *node.output.shape[1:])


def _concatenation(node: Node) -> np.ndarray:
    return np.concatenate(node.values, axis=node.attributes.axis)


def _pad(node: Node) -> np.ndarray:
    """PAD with real zero."""
    sides = ((0, 0), node.attributes.height, node.attributes.width, (0, 0))
    is_float = node.inputs[0].quantization is None
    return np.pad(node.values[0], sides, constant_values=0 if is_float else node.input_zero_point)


def _crop(node: Node) -> np.ndarray:
    operator = node.attributes
    parts = (slice(*ends) for ends in zip(operator.begin, operator.end, strict=True))
    return node.values[0][(slice(None), *parts)]


def _repeat(node: Node) -> np.ndarray:
    """Nearest neighbours of a map that is enlarged by whole factors."""
    height, width = node.attributes.size
    rows = node.values[0].repeat(height // node.values[0].shape[1], axis=1)
    return rows.repeat(width // rows.shape[2], axis=2)


def _depth_to_space(node: Node) -> np.ndarray:
    side = node.attributes.block_size
    batch, height, width, channels = node.values[0].shape
    blocks = node.values[0].reshape(batch, height, width, side, side, channels // side**2)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, *node.output.shape[1:])


@dataclasses.dataclass(frozen=True)
class _Resize(Operator):
    """Enlarges [1,H,W,C] to a `size` of multiples, with pixels centred at half integers."""

    size: tuple[int, int] = (1, 1)
    options_table: ClassVar[str]

    def __post_init__(self) -> None:
        check_pair(self, "size")

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        require_image(inputs[0])
        batch, height, width, channels = inputs[0]
        fits = self.size[0] % height == 0 and self.size[1] % width == 0
        require(fits, f"needs a size of multiples of {(height, width)}, not {self.size}")
        return batch, *self.size, channels

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = getattr(schema, self.options_table)()
        options.halfPixelCenters = True
        return options, 3

    def settings(self, output: Tensor) -> tuple[np.ndarray, ...]:
        return (np.array(self.size, np.int32),)

    @classmethod
    def read(cls, options: Any | None, settings: Sequence[np.ndarray]) -> Self:
        return cls(tuple(settings[0]))


@dataclasses.dataclass(frozen=True)
class ResizeNearestNeighbor(_Resize):
    """RESIZE_NEAREST_NEIGHBOR: every pixel several times."""

    kind: ClassVar[str] = "RESIZE_NEAREST_NEIGHBOR"
    options_table: ClassVar[str] = "ResizeNearestNeighborOptionsT"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: alike(_repeat),
        Arithmetic.FLOAT32: alike(_repeat),
    }


@dataclasses.dataclass(frozen=True)
class ResizeBilinear(_Resize):
    """RESIZE_BILINEAR of FLOAT32."""

    kind: ClassVar[str] = "RESIZE_BILINEAR"
    options_table: ClassVar[str] = "ResizeBilinearOptionsT"
    kernels: ClassVar[KernelTable] = {Arithmetic.FLOAT32: alike(run_in_litert)}


@dataclasses.dataclass(frozen=True)
class Concatenation(Operator):
    """CONCATENATION of two or more tensors of one scale and zero point.

    Attributes:
      axis: From 1 on; the batch is not joined.
    """

    axis: int = 3
    kind: ClassVar[str] = "CONCATENATION"
    arity: ClassVar[int | None] = None
    kernels: ClassVar[KernelTable] = {Arithmetic.INT8: alike(_concatenation)}

    def __post_init__(self) -> None:
        if self.axis < 1:
            raise InvalidInputError(f"Concatenation: axis is at least 1. Received: {self.axis!r}.")

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        axis, first = self.axis, inputs[0]
        others = {(*shape[:axis], *shape[axis + 1 :]) for shape in inputs}
        fits = len(others) == 1 and len({len(shape) for shape in inputs}) == 1 and axis < len(first)
        require(fits, f"needs inputs that are equal but for axis {axis}, not {list(inputs)}")
        return (*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.ConcatenationOptionsT()
        options.axis = self.axis
        return options, 2

    @classmethod
    def read(cls, options: Any, settings: Sequence[np.ndarray]) -> Self:
        return cls(int(options.axis))


@dataclasses.dataclass(frozen=True)
class Reshape(Operator):
    """RESHAPE to the shape of the output tensor; the batch is never mixed with other axes."""

    kind: ClassVar[str] = "RESHAPE"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: alike(_reshape),
        Arithmetic.FLOAT32: alike(_reshape),
    }

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        given = inputs[0]
        require(
            math.prod(given[1:]) == math.prod(declared[1:]) and given[0] == declared[0],
            f"cannot turn {given} into {declared}: the batch and the number of elements "
            "of one image must stay",
        )
        return declared

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.ReshapeOptionsT()
        options.newShape = [-1, *output.shape[1:]]
        return options, 1

    def settings(self, output: Tensor) -> tuple[np.ndarray, ...]:
        return (np.array([-1, *output.shape[1:]], np.int32),)


@dataclasses.dataclass(frozen=True)
class Pad(Operator):
    """PAD with the zero point; `height` and `width` are (before, after) in pixels."""

    height: tuple[int, int] = (0, 0)
    width: tuple[int, int] = (0, 0)
    kind: ClassVar[str] = "PAD"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: alike(_pad),
        Arithmetic.FLOAT32: alike(_pad),
    }

    def __post_init__(self) -> None:
        check_pair(self, "height", least=0)
        check_pair(self, "width", least=0)

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        require_image(inputs[0])
        batch, height, width, channels = inputs[0]
        return batch, height + sum(self.height), width + sum(self.width), channels

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        return schema.PadOptionsT(), 2

    def settings(self, output: Tensor) -> tuple[np.ndarray, ...]:
        return (np.array([(0, 0), self.height, self.width, (0, 0)], np.int32),)

    @classmethod
    def read(cls, options: Any | None, settings: Sequence[np.ndarray]) -> Self:
        (sides,) = settings
        return cls(tuple(sides[1]), tuple(sides[2]))


@dataclasses.dataclass(frozen=True)
class Crop(Operator):
    """STRIDED_SLICE that takes a part of every axis but the batch, without gaps.

    Attributes:
      begin: First places of height, width, ... of the part.
      end: Places behind the last of it.
    """

    begin: tuple[int, ...] = (0, 0, 0)
    end: tuple[int, ...] = (1, 1, 1)
    kind: ClassVar[str] = "STRIDED_SLICE"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: alike(_crop),
        Arithmetic.FLOAT32: alike(_crop),
    }

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        batch, *sizes = inputs[0]
        fits = len(sizes) == len(self.begin) == len(self.end) and all(
            0 <= begin < end <= size
            for begin, end, size in zip(self.begin, self.end, sizes, strict=True)
        )
        require(fits, f"cannot take {self.begin} to {self.end} of {inputs[0]}")
        return batch, *(end - begin for begin, end in zip(self.begin, self.end, strict=True))

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.StridedSliceOptionsT()
        options.beginMask = options.endMask = 1  # the whole batch
        return options, 2

    def settings(self, output: Tensor) -> tuple[np.ndarray, ...]:
        begin, end = (np.array((0, *places), np.int32) for places in (self.begin, self.end))
        return begin, end, np.ones(len(begin), np.int32)

    @classmethod
    def read(cls, options: Any | None, settings: Sequence[np.ndarray]) -> Self:
        begin, end, _ = settings
        return cls(tuple(begin[1:].tolist()), tuple(end[1:].tolist()))


@dataclasses.dataclass(frozen=True)
class DepthToSpace(Operator):
    """DEPTH_TO_SPACE: `block_size`^2 channels become a square of pixels."""

    block_size: int = 2
    kind: ClassVar[str] = "DEPTH_TO_SPACE"
    kernels: ClassVar[KernelTable] = {
        Arithmetic.INT8: alike(_depth_to_space),
        Arithmetic.FLOAT32: alike(_depth_to_space),
    }

    def __post_init__(self) -> None:
        if self.block_size < 2:
            raise InvalidInputError(
                f"DepthToSpace: block_size is at least 2. Received: {self.block_size!r}."
            )

    def output_shape(self, inputs: Sequence[Shape], declared: Shape) -> Shape:
        require_image(inputs[0])
        batch, height, width, channels = inputs[0]
        side = self.block_size
        require(channels % side**2 == 0, f"needs a multiple of {side**2} channels, not {channels}")
        return batch, height * side, width * side, channels // side**2

    def options(self, schema: Any, inputs: Sequence[Tensor], output: Tensor) -> tuple[Any, int]:
        options = schema.DepthToSpaceOptionsT()
        options.blockSize = self.block_size
        return options, 1

    @classmethod
    def read(cls, options: Any, settings: Sequence[np.ndarray]) -> Self:
        return cls(int(options.blockSize))
