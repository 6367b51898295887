"""State of one lowering, and what the families of layers do with it."""

import dataclasses
from collections.abc import Callable, Sequence

from quantize_configs.layer_roles import (
    Role,
    UnsupportedLayerError,
    activation_of,
)
from quantize_configs.model_graph import LayerCall
from quantize_configs.tensor_grids import written_grid
from quantize_configs.wrappers import WrappedModel
from tflite_tools.integer_graph.graph import IntegerGraph
from tflite_tools.lowering.float_flow import stays_float
from tflite_tools.lowering.grids import Grid, GridMover, Value
from tflite_tools.lowering.options import ConversionOptions
from tflite_tools.operators.operator import Operator
from tflite_tools.support.validation import check_operation


class Lowering:
    """The graph so far and the value of every Keras tensor.

    Attributes:
      wrapped: The quantized model.
      options: How it is converted.
      graph: Under construction.
      mover: Brings tensors onto grids.
      values: By name of the layer that makes the tensor, or of one that is fused into it.
      same_padded: Names of "valid" convolutions that a zero padding makes "same".
    """

    def __init__(self, wrapped: WrappedModel, options: ConversionOptions):
        self.wrapped = wrapped
        self.options = options
        self.graph = IntegerGraph()
        self.mover = GridMover(self.graph)
        self.values: dict[str, Value] = {}
        self.same_padded: set[str] = set()
        self._checked = 0

    def grid(self, name: str) -> Grid:
        """Grid of a tensor with a quantizer."""
        return Grid(*self.wrapped.activation_grid(name))

    def target_grid(self, name: str) -> tuple[Grid, list[str]]:
        """Grid that a tensor is written on, and the names of all tensors that are this one.

        See `written_grid`.

        Raises:
          UnsupportedLayerError: There is none.
        """
        written = written_grid(self.wrapped, name)
        if written is None:
            raise UnsupportedLayerError(
                f"The output of layer {name!r} has no grid. Quantize the model with "
                "tensor_quantizers=True (subnets: extract with deployment_grids=True)."
            )
        grid, names = written
        return Grid(*grid), names

    def clamped(self, name: str) -> Value:
        """The value of a tensor, for readers that do not clamp it themselves."""
        self.values[name] = value = self.mover.clamped(self.values[name])
        return value

    def register(self, names: list[str], value: Value) -> None:
        """Says that all of these tensors have one value."""
        self.values.update(dict.fromkeys(names, value))

    def write(
        self,
        name: str,
        nonnegative: bool,
        shape: Sequence[int],
        add_operation: Callable[[str], None],
    ) -> None:
        """Makes the tensor for the end of a fused chain and registers its value."""
        grid, names = self.target_grid(name)
        target = self.mover.destination(name, shape, grid)
        add_operation(target)
        self.register(names, self.mover.written(target, grid, nonnegative))

    def shape(self, call: LayerCall) -> tuple[int, ...]:
        """Shape of the output of a call, with batch 1."""
        return (1, *call.owner.output_shape[1:])

    def pass_on(self, call: LayerCall, operation: Operator | None) -> None:
        """Adds an operation that moves or compares codes; what clamp they need comes after it.

        Without an operation the value stays what it is.
        """
        source = self.values[call.inputs[0]]
        if operation is None:
            self.values[call.name] = source
            return
        if source.grid is None and not stays_float(self.wrapped, call.name):
            grid, _ = self.target_grid(call.name)
            source = self.mover.moved(source, grid, f"{call.name}.input")
        given = self.graph.tensor(source.tensor)
        tensor = self.graph.add_tensor(call.name, self.shape(call), given.dtype, given.quantization)
        self.graph.add_operation(call.name, operation, [source.tensor], [tensor])
        self.values[call.name] = dataclasses.replace(source, tensor=tensor)

    def check(self) -> None:
        """Checks the operations that were added since the last check.

        Raises:
          GraphError, UnsupportedCombinationError: One breaks a rule; the sentence names the layer.
        """
        for operation in self.graph.operations[self._checked :]:
            check_operation(self.graph, operation)
        self._checked = len(self.graph.operations)

    def fused_activation(self, call: LayerCall) -> tuple[str, str]:
        """(name of the activation that is fused into an operation, name of what it makes)."""
        reader = self.wrapped.graph.sole_reader(call.name)
        if reader is not None and reader.role is Role.ACTIVATION:
            name = activation_of(reader.layer)
            if name != "linear":
                return name, reader.name
        return "linear", call.name
