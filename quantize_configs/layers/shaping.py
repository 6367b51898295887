"""Layers that move values without changing them, and those that do nothing at inference."""

from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import (
    CallGraph,
    LayerCall,
    LayerKind,
    Role,
    UnsupportedLayerError,
)

layers = keras.layers


def _check_enlarging(graph: CallGraph, call: LayerCall) -> None:
    if call.layer.interpolation not in ("nearest", "bilinear"):
        raise UnsupportedLayerError(
            f"Layer {call.name!r} enlarges by {call.layer.interpolation!r} interpolation; "
            "interpolation='nearest' and 'bilinear' are exported."
        )


def _role_of_enlarging(layer: keras.layers.Layer) -> Role:
    return Role.PASSING if layer.interpolation == "nearest" else Role.POINTWISE


LAYERS = {
    layers.InputLayer: LayerKind(Role.INPUT),
    layers.ZeroPadding2D: LayerKind(Role.PASSING),
    layers.UpSampling2D: LayerKind(
        _role_of_enlarging, function=lambda layer: "bilinear", check=_check_enlarging
    ),
    layers.Flatten: LayerKind(Role.PASSING),
    layers.Reshape: LayerKind(Role.PASSING),
    layers.Dropout: LayerKind(Role.PASSING),
}

RULES = ()
