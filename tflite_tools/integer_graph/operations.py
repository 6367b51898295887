"""One node of the integer graph."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from quantize_configs.errors import InvalidInputError
from tflite_tools.integer_graph.tensors import Tensor

if TYPE_CHECKING:
    from tflite_tools.operators.operator import Operator


class GraphError(InvalidInputError):
    """An integer graph that is not well formed; the sentence names the tensor or the layer."""


@dataclasses.dataclass(frozen=True)
class Operation:
    """One node of the graph.

    Attributes:
      name: Layer name used in error messages and reports; unique in the graph.
      attributes: Operator and its settings, for example `Conv2D(strides=(2, 2))`.
      inputs: Names of the tensors read, in the order of the operator.
      outputs: Names of the tensors written.
    """

    name: str
    attributes: "Operator"
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The operator, named as in LiteRT."""
        return self.attributes.kind

    @property
    def is_linear(self) -> bool:
        """Whether it has weights and a bias."""
        return self.attributes.is_linear


class GraphView(Protocol):
    """What checks see of a graph; see `tflite_tools.integer_graph.graph.IntegerGraph`."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Every tensor by name."""

    @property
    def operations(self) -> Sequence[Operation]:
        """Operations in execution order."""

    @property
    def inputs(self) -> Sequence[str]:
        """Names of the graph inputs."""

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the graph outputs."""

    def tensor(self, name: str) -> Tensor:
        """The tensor called `name`."""
