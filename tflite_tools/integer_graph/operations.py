"""One node of the integer graph."""

import dataclasses
from typing import TYPE_CHECKING

from quantize_configs.errors import InvalidInputError

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
