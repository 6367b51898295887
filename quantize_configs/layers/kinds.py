"""How a class of Keras layers is treated, and the refusal of what is not."""

import dataclasses
import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

from quantize_configs.errors import UnsupportedError
from quantize_configs.keras_backend import keras

if TYPE_CHECKING:
    from quantize_configs.model_graph import LayerCall, ModelGraph


class UnsupportedLayerError(UnsupportedError):
    """A layer, or the way it is used, has no quantized counterpart."""


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
      merges: Whether they are called with a list of tensors.
      shares_grid: Whether several inputs come onto the grid of the output, code for code.
      function: Name of the function they compute, where `role` is POINTWISE or ACTIVATION.
      check: Raises UnsupportedLayerError where a call of such a layer cannot be deployed.
    """

    role: Role | Callable[[keras.layers.Layer], Role]
    weight: str | None = None
    merges: bool = False
    shares_grid: bool = False
    function: Callable[[keras.layers.Layer], str] | None = None
    check: "Callable[[ModelGraph, LayerCall], None] | None" = None

    def role_of(self, layer: keras.layers.Layer) -> Role:
        """What `layer` does to grids."""
        return self.role if isinstance(self.role, Role) else self.role(layer)
