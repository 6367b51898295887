"""What the registry of layers says of one layer."""

from quantize_configs.keras_backend import keras
from quantize_configs.layers.functions import activation_name, activation_of
from quantize_configs.layers.kinds import LayerKind, Role, UnsupportedLayerError
from quantize_configs.layers.registry import LAYERS

__all__ = [
    "MERGING_LAYERS",
    "WEIGHT_ATTRIBUTES",
    "WEIGHT_CHANNEL_AXES",
    "Role",
    "UnsupportedLayerError",
    "activation_name",
    "activation_of",
    "function_of",
    "kind_of",
    "role_of",
    "shares_grid",
]

WEIGHT_ATTRIBUTES = {layer: kind.weight for layer, kind in LAYERS.items() if kind.weight}
WEIGHT_CHANNEL_AXES = {layer: kind.channel_axes for layer, kind in LAYERS.items() if kind.weight}

MERGING_LAYERS = tuple(layer for layer, kind in LAYERS.items() if kind.merges)
"""Layers that are called with a list of tensors."""


def kind_of(layer: keras.layers.Layer) -> LayerKind:
    """How a layer (not a wrapper) is treated, matched by its exact class.

    Raises:
      UnsupportedLayerError: The class is not in the registry.
    """
    try:
        return LAYERS[type(layer)]
    except KeyError:
        known = ", ".join(sorted(kind.__name__ for kind in LAYERS))
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} is a {type(layer).__name__}, which cannot be quantized. "
            f"Supported layers: {known}. {_advice(layer)}, or keep it outside the model."
        ) from None


def role_of(layer: keras.layers.Layer) -> Role:
    """What a layer does to grids.

    Raises:
      UnsupportedLayerError: The class is not in the registry.
    """
    return kind_of(layer).role_of(layer)


def function_of(layer: keras.layers.Layer) -> str:
    """Name of the function of a layer that is computed in float, or of an Activation."""
    function = kind_of(layer).function
    return "linear" if function is None else function(layer)


def shares_grid(layer: keras.layers.Layer) -> bool:
    """Whether what a layer reads comes onto the grid of what it makes, code for code."""
    kind = kind_of(layer)
    return kind.shares_grid or kind.role_of(layer) is Role.PASSING


_NEAREST = {
    "Conv1DTranspose": "an UpSampling1D and a Conv1D",
    "Lambda": "operators such as x + y, or layers of Keras",
    "MultiHeadAttention": "convolutions and dense layers",
    "Resizing": "an UpSampling2D, or images that have the size",
}
"""What comes near a layer that is not in the registry, by class."""


def _advice(layer: keras.layers.Layer) -> str:
    nearest = _NEAREST.get(type(layer).__name__, "one of these")
    return f"Replace it by {nearest}"
