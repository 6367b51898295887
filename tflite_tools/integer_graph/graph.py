"""The integer graph: the unit of truth between a Keras model and a flatbuffer.

The lowering builds it, the interpreter runs it with the exact rounding of each LiteRT kernel set,
and the emitter writes it. Importing this module needs NumPy only.

    graph = IntegerGraph()
    x = graph.add_input("image", (1, 32, 32, 3), DataType.INT8, Quantization(0.02, -1))
    w = graph.add_constant("stem/weights", codes, DataType.INT8, Quantization(scales, axis=0))
    b = graph.add_bias("stem/bias", bias_codes, x, w)
    y = graph.add_tensor("stem", (1, 16, 16, 8), DataType.INT8, Quantization(0.1, -128))
    graph.add_operation("stem", Conv2D((2, 2), activation=Activation.RELU), [x, w, b], [y])
    graph.outputs.append(y)
    graph.validate()
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tflite_tools.integer_graph.operations import GraphError, Operation
from tflite_tools.integer_graph.tensors import DataType, Quantization, Tensor

if TYPE_CHECKING:
    from tflite_tools.operators.operator import Operator

__all__ = ["DataType", "GraphError", "IntegerGraph", "Operation", "Quantization", "Tensor"]


@dataclasses.dataclass
class IntegerGraph:
    """Tensors and operations, in the order in which they run.

    Attributes:
      tensors: Every tensor by name, in the order of addition.
      operations: Operations in execution order.
      inputs: Names of the graph inputs, in signature order.
      outputs: Names of the graph outputs, in signature order.
      metadata: JSON-able values; the emitter stores them in the flatbuffer.
    """

    tensors: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    operations: list[Operation] = dataclasses.field(default_factory=list)
    inputs: list[str] = dataclasses.field(default_factory=list)
    outputs: list[str] = dataclasses.field(default_factory=list)
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)

    def tensor(self, name: str) -> Tensor:
        """The tensor called `name`.

        Raises:
          GraphError: There is none.
        """
        if name not in self.tensors:
            raise GraphError(
                f"The graph has no tensor {name!r}. Add it first, with add_tensor, add_input or "
                "add_constant."
            )
        return self.tensors[name]

    def add_tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: DataType,
        quantization: Quantization | None = None,
    ) -> str:
        """Adds an activation of `shape` (batch 1) and returns its name."""
        return self._add(Tensor(name, tuple(shape), dtype, quantization))

    def add_input(
        self,
        name: str,
        shape: Sequence[int],
        dtype: DataType,
        quantization: Quantization | None = None,
    ) -> str:
        """Adds an activation that is a graph input and returns its name."""
        self.add_tensor(name, shape, dtype, quantization)
        self.inputs.append(name)
        return name

    def add_constant(
        self,
        name: str,
        codes: np.ndarray,
        dtype: DataType,
        quantization: Quantization | None = None,
    ) -> str:
        """Adds a constant of integer `codes` (or of FLOAT32 values) and returns its name.

        Args:
          name: Tensor name.
          codes: Integer array in the layout of LiteRT (see `Conv2D`, `DepthwiseConv2D`,
            `FullyConnected`); INT4 and INT2 codes are given unpacked. Floats of a float constant.
          dtype: Type stored in the flatbuffer.
          quantization: One scale per output channel for weights; axis 0, or 3 for depthwise.
            None for FLOAT32 and FLOAT16.
        """
        return self._add(Tensor(name, np.shape(codes), dtype, quantization, codes))

    def add_bias(
        self,
        name: str,
        codes: np.ndarray,
        x: str,
        weights: str,
        dtype: DataType = DataType.INT32,
    ) -> str:
        """Adds an integer bias whose scale is that of `x` times those of `weights`.

        Args:
          name: Tensor name.
          codes: Integers [O], in units of input scale times weight scale.
          x: Name of the operation's input.
          weights: Name of the operation's weights.
          dtype: INT32; INT64 is possible where `x` is INT16.
        """
        scales = self.tensor(x).grid.scales * self.tensor(weights).grid.scales
        return self.add_constant(
            name, np.asarray(codes), dtype, Quantization(scales.astype(np.float32))
        )

    def add_operation(
        self, name: str, attributes: "Operator", inputs: Sequence[str], outputs: Sequence[str]
    ) -> Operation:
        """Appends an operation; `validate` checks it.

        Args:
          name: Layer name, unique among the operations.
          attributes: Operator and settings, for example `Add(activation=Activation.RELU)`.
          inputs: Names of the tensors read.
          outputs: Names of the tensors written.

        Raises:
          GraphError: A tensor is unknown or the name is taken.
        """
        if any(operation.name == name for operation in self.operations):
            raise GraphError(f"There is an operation {name!r} already; give this one another name.")
        for tensor in (*inputs, *outputs):
            self.tensor(tensor)
        operation = Operation(name, attributes, tuple(inputs), tuple(outputs))
        self.operations.append(operation)
        return operation

    @property
    def activation_names(self) -> list[str]:
        """Names of all activations: graph inputs, then in order of production."""
        produced = [name for operation in self.operations for name in operation.outputs]
        return [*self.inputs, *produced]

    def validate(self) -> None:
        """Checks that the graph can be emitted and computes what the interpreter computes.

        Raises:
          GraphError: The structure, a shape, a type or a quantization is wrong.
          UnsupportedCombinationError: LiteRT computes an operation wrongly or not at all
            (`tflite_tools.support.table`).
        """
        from tflite_tools.support.validation import validate_graph

        validate_graph(self)

    def _add(self, tensor: Tensor) -> str:
        if tensor.name in self.tensors:
            raise GraphError(f"There is a tensor {tensor.name!r} already; names must be unique.")
        self.tensors[tensor.name] = tensor
        return tensor.name
