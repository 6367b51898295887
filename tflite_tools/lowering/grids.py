"""Grids of activations, and moving tensors from one grid to another."""

import dataclasses

import numpy as np

from quantize_configs.errors import InvalidInputError
from quantize_configs.tensor_grids import is_exact_move
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.operators.grids import Dequantize, Quantize

WIDE_BITS = 16
INT8_TOP = 127
INT8_BOTTOM = -128


@dataclasses.dataclass(frozen=True)
class Grid:
    """Grid of an activation: real value = (code - zero_point) * step, code in [0, 2^bits - 1].

    Attributes:
      step: float32 value.
      zero_point: Code of real zero.
      bits: 2 to 8, or 16.
    """

    step: float
    zero_point: int
    bits: int

    @property
    def is_wide(self) -> bool:
        """Whether it lives in an INT16 tensor."""
        return self.bits == WIDE_BITS

    @property
    def dtype(self) -> DataType:
        """Type of a tensor on the grid."""
        return DataType.INT16 if self.is_wide else DataType.INT8

    @property
    def quantization(self) -> Quantization:
        """The grid in an INT8 tensor, top code at 127, so that saturation is the upper clamp.

        An INT16 tensor has zero point 0.
        """
        if self.is_wide:
            return Quantization(np.float32(self.step), 0)
        top = 2**self.bits - 1
        return Quantization(np.float32(self.step), INT8_TOP - top + self.zero_point)

    @property
    def bottom_quantization(self) -> Quantization:
        """The same grid with its lowest code at -128, where saturation is the lower clamp."""
        return Quantization(np.float32(self.step), INT8_BOTTOM + self.zero_point)


@dataclasses.dataclass(frozen=True)
class Value:
    """A lowered tensor.

    Attributes:
      tensor: Name in the graph.
      grid: None for a float tensor.
      nonnegative: Whether its real values are known to be at least 0.
      is_clamped: Whether no code lies below the lowest of the grid.
    """

    tensor: str
    grid: Grid | None
    nonnegative: bool
    is_clamped: bool = True

    @property
    def required_grid(self) -> Grid:
        """The grid of a tensor that must have one.

        Raises:
          InvalidInputError: It is in float.
        """
        if self.grid is None:
            raise InvalidInputError(f"The float tensor {self.tensor!r} has no grid.")
        return self.grid


class GridMover:
    """Adds the operations that bring tensors onto grids.

    Args:
      graph: Graph under construction.
    """

    def __init__(self, graph: IntegerGraph):
        self._graph = graph

    def destination(self, name: str, shape, grid: Grid) -> str:
        """Adds the integer tensor that an operation writes for `grid`, and returns its name."""
        return self._graph.add_tensor(name, shape, grid.dtype, grid.quantization)

    def written(self, tensor: str, grid: Grid, nonnegative: bool) -> Value:
        """The value of a tensor that was just written on `grid`.

        Saturation has cut it at the top. At the bottom it has done so at 8 bits, and where no
        value is negative nothing is to be cut.
        """
        return Value(tensor, grid, nonnegative, grid.bits in (8, WIDE_BITS) or nonnegative)

    def clamped(self, value: Value) -> Value:
        """`value` with the codes below 0 cut off.

        One QUANTIZE with the same scale shifts the lowest code to -128, where it saturates.
        """
        if value.is_clamped:
            return value
        name = self._requantized(
            value, f"{value.tensor}.clamped", value.required_grid.bottom_quantization
        )
        return dataclasses.replace(value, tensor=name, is_clamped=True)

    def unshifted(self, value: Value) -> str:
        """Tensor with the codes of `value` where `Grid.quantization` puts them."""
        if self._graph.tensor(value.tensor).quantization == value.required_grid.quantization:
            return value.tensor
        name = f"{value.tensor}.unshifted"
        return self._requantized(value, name, value.required_grid.quantization)

    def spread(self, value: Value, factor: int) -> str:
        """Tensor with all codes of `value` multiplied by `factor`, the lowest at -128.

        A clamp of negative values comes with it. XNNPACK's QUANTIZE multiplies exactly.
        """
        if factor == 1:
            return self.clamped(value).tensor
        grid = value.required_grid
        step = np.float32(grid.step) / np.float32(factor)
        spread = Quantization(step, INT8_BOTTOM + grid.zero_point * factor)
        return self._requantized(value, f"{value.tensor}.spread", spread)

    def _requantized(self, value: Value, name: str, quantization: Quantization) -> str:
        shape = self._graph.tensor(value.tensor).shape
        self._graph.add_tensor(name, shape, DataType.INT8, quantization)
        self._graph.add_operation(name, Quantize(), [value.tensor], [name])
        return name

    def real(self, value: Value, name: str) -> str:
        """FLOAT32 tensor of `value`, called `name` if it has to be made."""
        value = self.clamped(value)
        if value.grid is None:
            return value.tensor
        shape = self._graph.tensor(value.tensor).shape
        self._graph.add_tensor(name, shape, DataType.FLOAT32)
        self._graph.add_operation(name, Dequantize(), [value.tensor], [name])
        return name

    def moved(self, value: Value, grid: Grid, name: str) -> Value:
        """`value` on another grid.

        int8 to int8 is one QUANTIZE where XNNPACK's 8.8 fixed point holds the ratio of the scales
        exactly, otherwise DEQUANTIZE and QUANTIZE, which XNNPACK fuses into one exact table. INT16
        always goes that way.
        """
        if value.grid == grid:
            return value
        graph = self._graph
        value = self.clamped(value)
        shape = graph.tensor(value.tensor).shape
        source = value.tensor
        if value.grid is not None and not is_exact_move(
            dataclasses.astuple(value.grid), dataclasses.astuple(grid)
        ):
            source = self.real(value, f"{name}.float")
        target = self.destination(name, shape, grid)
        graph.add_operation(name, Quantize(), [source], [target])
        return self.written(target, grid, value.nonnegative)
