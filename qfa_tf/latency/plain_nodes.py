"""The integer operators of nodes without weights, as `tflite_tools.lowering` writes them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from qfa_tf.network import (
    Concatenation,
    Flatten,
    Function,
    GlobalPooling,
    Node,
    Padding,
    Pooling,
    Product,
    Rescaling,
    Sum,
    Upsampling,
)
from qfa_tf.network.nodes import NONNEGATIVE, strided_size
from quantize_configs.errors import UnsupportedError
from tflite_tools.integer_graph.graph import IntegerGraph
from tflite_tools.lowering.grids import Grid, GridMover, Value
from tflite_tools.operators import functions, shaping
from tflite_tools.operators.elementwise import Mul
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.operator import Operator
from tflite_tools.operators.pooling import AveragePool2D, ReduceMax
from tflite_tools.operators.settings import Padding as PaddingKind

FLOAT_OPERATORS: dict[str, type[Operator]] = {
    "relu": functions.Relu,
    "relu6": functions.Relu6,
    "hard_swish": functions.HardSwish,
    "sigmoid": functions.Logistic,
    "tanh": functions.Tanh,
    "gelu": functions.Gelu,
}
"""Functions that are one operator between DEQUANTIZE and QUANTIZE."""


class Writer(Protocol):
    """What is used of `SubnetGraphWriter`."""

    graph: IntegerGraph

    @property
    def mover(self) -> GridMover:
        """What brings tensors onto grids."""

    def grid(self, bits: int, nonnegative: bool) -> Grid:
        """A grid of a tensor."""

    def written(
        self, name: str, operator: Operator, sources: list[str], grid: Grid, shape: Any = None
    ) -> Value:
        """Adds an operator and its result."""

    def step(self, name: str, operator: Operator, *sources: str) -> str:
        """Adds an operator on floats and its result."""

    def add(self, name: str, first: Value, second: Value, bits: int) -> Value:
        """Adds a sum."""

    def mean(self, name: str, value: Value, bits: int) -> Value:
        """Adds a global pooling."""

    def max_pool(self, name: str, value: Value, window: int, stride: int, padding: str) -> Value:
        """Adds a pooling."""


def write_plain(writer: Writer, node: Node, values: Sequence[Value], bits: int) -> Value:
    """Writes a node without weights.

    Args:
      writer: Of the graph.
      node: What to write.
      values: What it reads.
      bits: Of the result, where the node makes a grid.

    Raises:
      UnsupportedError: Nothing writes nodes of its kind.
    """
    write = _WRITERS.get(type(node))
    if write is None:
        raise UnsupportedError(
            f"{node.name!r} is a {type(node).__name__}, of which no latency can be measured."
        )
    return write(writer, node, values, bits)


def _sum(writer: Writer, node: Sum, values: Sequence[Value], bits: int) -> Value:
    total, *others = values
    for other in others:
        total = writer.add(node.name, total, other, bits)
    return total


def _product(writer: Writer, node: Product, values: Sequence[Value], bits: int) -> Value:
    first, second = (writer.mover.clamped(value) for value in values)
    shape = writer.graph.tensor(first.tensor).shape
    if len(writer.graph.tensor(second.tensor).shape) < len(shape):
        second = _reshaped(writer, f"{node.name}.map", second, (1, 1, 1, shape[-1]))
    grid = writer.grid(bits, first.nonnegative and second.nonnegative)
    return writer.written(node.name, Mul(), [first.tensor, second.tensor], grid)


def _concatenation(
    writer: Writer, node: Concatenation, values: Sequence[Value], bits: int
) -> Value:
    nonnegative = all(value.nonnegative for value in values)
    grid = writer.grid(bits, nonnegative)
    parts = [
        writer.mover.moved(value, grid, f"{node.name}.part_{number}")
        for number, value in enumerate(values)
    ]
    sources = [writer.mover.unshifted(part) for part in parts]
    *outer, _ = writer.graph.tensor(sources[0]).shape
    channels = sum(writer.graph.tensor(source).shape[-1] for source in sources)
    operator = shaping.Concatenation(len(outer))
    return writer.written(node.name, operator, sources, grid, (*outer, channels))


def _function(writer: Writer, node: Function, values: Sequence[Value], bits: int) -> Value:
    value = writer.mover.clamped(values[0])
    name, function = node.name, node.activation
    nonnegative = function in NONNEGATIVE or value.nonnegative
    real = writer.step(f"{name}.input.float", Dequantize(), value.tensor)
    if function == "swish":
        gate = writer.step(f"{name}.gate", functions.Logistic(), real)
        real = writer.step(f"{name}.result", Mul(), real, gate)
    elif function == "leaky_relu":
        real = writer.step(f"{name}.result", functions.LeakyRelu(node.slope), real)
    elif function in FLOAT_OPERATORS:
        real = writer.step(f"{name}.result", FLOAT_OPERATORS[function](), real)
    else:
        raise UnsupportedError(f"{name!r} computes {function}, whose latency cannot be measured.")
    return writer.written(name, Quantize(), [real], writer.grid(bits, nonnegative))


def _pooling(writer: Writer, node: Pooling, values: Sequence[Value], bits: int) -> Value:
    (value,) = values
    if node.reduction == "max":
        return writer.max_pool(node.name, value, node.window, node.stride, node.padding)
    value = writer.mover.clamped(value)
    _, *sides, channels = writer.graph.tensor(value.tensor).shape
    sides = [strided_size(side, node.window, node.stride, node.padding) for side in sides]
    window, stride = (node.window,) * 2, (node.stride,) * 2
    operator = AveragePool2D(window, stride, PaddingKind[node.padding.upper()])
    grid = value.required_grid
    return writer.written(node.name, operator, [value.tensor], grid, (1, *sides, channels))


def _global_pooling(
    writer: Writer, node: GlobalPooling, values: Sequence[Value], bits: int
) -> Value:
    if node.reduction == "average":
        return writer.mean(node.name, values[0], bits)
    value = writer.mover.clamped(values[0])
    channels = writer.graph.tensor(value.tensor).shape[-1]
    return _passed(writer, node.name, value, ReduceMax(False), (1, channels))


def _padding(writer: Writer, node: Padding, values: Sequence[Value], bits: int) -> Value:
    value = values[0] if values[0].grid is None else writer.mover.clamped(values[0])
    _, height, width, channels = writer.graph.tensor(value.tensor).shape
    shape = (1, height + sum(node.rows), width + sum(node.columns), channels)
    return _passed(writer, node.name, value, shaping.Pad(node.rows, node.columns), shape)


def _upsampling(writer: Writer, node: Upsampling, values: Sequence[Value], bits: int) -> Value:
    value = writer.mover.clamped(values[0])
    _, height, width, channels = writer.graph.tensor(value.tensor).shape
    size = (height * node.factor, width * node.factor)
    shape = (1, *size, channels)
    if node.interpolation == "nearest":
        return _passed(writer, node.name, value, shaping.ResizeNearestNeighbor(size), shape)
    real = writer.step(f"{node.name}.float", Dequantize(), value.tensor)
    tensor = writer.graph.add_tensor(f"{node.name}.result", shape, writer.graph.tensor(real).dtype)
    writer.graph.add_operation(
        f"{node.name}.result", shaping.ResizeBilinear(size), [real], [tensor]
    )
    return writer.written(node.name, Quantize(), [tensor], writer.grid(bits, value.nonnegative))


def _flatten(writer: Writer, node: Flatten, values: Sequence[Value], bits: int) -> Value:
    value = writer.mover.clamped(values[0])
    shape = writer.graph.tensor(value.tensor).shape
    size = 1
    for side in shape[1:]:
        size *= side
    return _reshaped(writer, node.name, value, (1, size))


def _rescaling(writer: Writer, node: Rescaling, values: Sequence[Value], bits: int) -> Value:
    """Part of how the image is read: it has no operator of its own."""
    return dataclasses.replace(values[0], nonnegative=False)


def _reshaped(writer: Writer, name: str, value: Value, shape: tuple[int, ...]) -> Value:
    return _passed(writer, name, value, shaping.Reshape(), shape)


def _passed(
    writer: Writer, name: str, value: Value, operator: Operator, shape: tuple[int, ...]
) -> Value:
    """The result of an operator that keeps the grid, or the type, of what it reads."""
    source = writer.graph.tensor(value.tensor)
    target = writer.graph.add_tensor(f"{name}.out", shape, source.dtype, source.quantization)
    writer.graph.add_operation(name, operator, [value.tensor], [target])
    return dataclasses.replace(value, tensor=target)


Write = Callable[[Writer, Any, Sequence[Value], int], Value]
_WRITERS: Mapping[type[Node], Write] = {
    Sum: _sum,
    Product: _product,
    Concatenation: _concatenation,
    Function: _function,
    Pooling: _pooling,
    GlobalPooling: _global_pooling,
    Padding: _padding,
    Upsampling: _upsampling,
    Flatten: _flatten,
    Rescaling: _rescaling,
}
