"""How a class of Keras layers is treated, and the refusal of what is not."""

import dataclasses
import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapper,
)

from quantize_configs.errors import UnsupportedError
from quantize_configs.keras_backend import keras


class UnsupportedLayerError(UnsupportedError):
    """A layer, or the way it is used, has no quantized counterpart."""


Refuse = Callable[[str, UnsupportedLayerError], None]
"""Takes note of a layer that will not go through: its name and the refusal."""


def raise_refusal(layer: str, error: UnsupportedLayerError) -> None:
    """Takes no note: the first refusal ends the work."""
    raise error


class Role(enum.Enum):
    """What a layer does to grids."""

    INPUT = "input"
    LINEAR = "linear"  # has a weight; reads its own activation grid, makes a grid
    NORMALIZATION = "normalization"  # folds away, into the linear layer before it
    ACTIVATION = "activation"  # folds away, fused into the operation before it
    POINTWISE = "pointwise"  # computed in float from one tensor, makes a grid
    ARITHMETIC = "arithmetic"  # merges grids, or makes a grid of its own
    PASSING = "passing"  # keeps the grid of its input


@dataclasses.dataclass(frozen=True)
class LayerKind:
    """How the layers of one class are treated.

    Attributes:
      role: What they do to grids; a function of the layer where that depends on its settings.
      weight: Name of the attribute with the quantized weight; None where there is none.
      channel_axes: Axes of that weight that make up the output channels.
      merges: Whether they are called with a list of tensors.
      shares_grid: Whether several inputs come onto the grid of the output, code for code.
      fuses_activation: Whether a relu that directly follows is fused into them.
      function: Name of the function they compute, where `role` is POINTWISE or ACTIVATION.
      outside_xnnpack: Whether XNNPACK has no operator for such a layer, so that the built-in
        kernels run it; None where it has one for all of them.
      check: Raises UnsupportedLayerError where a call of such a layer cannot be deployed.
    """

    role: Role | Callable[[keras.layers.Layer], Role]
    weight: str | None = None
    channel_axes: tuple[int, ...] = ()
    merges: bool = False
    shares_grid: bool = False
    fuses_activation: bool = False
    function: Callable[[keras.layers.Layer], str] | None = None
    outside_xnnpack: Callable[[keras.layers.Layer], bool] | None = None
    check: "Callable[[CallGraph, LayerCall], None] | None" = None

    def leaves_xnnpack(self, layer: keras.layers.Layer) -> bool:
        """Whether the built-in kernels run `layer`."""
        return self.outside_xnnpack is not None and self.outside_xnnpack(layer)

    def role_of(self, layer: keras.layers.Layer) -> Role:
        """What `layer` does to grids."""
        return self.role if isinstance(self.role, Role) else self.role(layer)


@dataclasses.dataclass(frozen=True)
class LayerCall:
    """One call of a layer; its output tensor goes by the layer's name.

    Attributes:
      owner: The layer of the model, a TFMOT wrapper in a quantized model.
      inputs: Names of the tensors it reads, in order.
      node: The Keras node, which knows how the arguments were nested.
      kind: How layers of its class are treated.
    """

    owner: keras.layers.Layer
    inputs: tuple[str, ...]
    node: Any
    kind: LayerKind

    @property
    def layer(self) -> keras.layers.Layer:
        """The layer itself, without a wrapper."""
        return self.owner.layer if isinstance(self.owner, QuantizeWrapper) else self.owner

    @property
    def name(self) -> str:
        """Name of the layer, and of the tensor it makes."""
        return self.layer.name

    @property
    def role(self) -> Role:
        """What the layer does to grids."""
        return self.kind.role_of(self.layer)


class CallGraph(Protocol):
    """What the checks of layers see of a model; see `quantize_configs.model_graph.ModelGraph`."""

    @property
    def by_name(self) -> Mapping[str, LayerCall]:
        """The calls by name."""

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the tensors the model gives."""

    def readers(self, name: str) -> Sequence[LayerCall]:
        """Calls that read a tensor."""

    def sole_reader(self, name: str) -> LayerCall | None:
        """The only call that reads a tensor, None when there are more or it is an output."""

    def require_fusion(self, call: LayerCall, producers: Collection[Role], needs: str) -> None:
        """Refuses a call that cannot be fused into the operation it reads."""
