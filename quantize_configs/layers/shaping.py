"""Layers that move values without changing them, and those that do nothing at inference."""

from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import LayerKind, Role

layers = keras.layers

LAYERS = {
    layers.InputLayer: LayerKind(Role.INPUT),
    layers.ZeroPadding2D: LayerKind(Role.PASSING),
    layers.Flatten: LayerKind(Role.PASSING),
    layers.Reshape: LayerKind(Role.PASSING),
    layers.Dropout: LayerKind(Role.PASSING),
}

RULES = ()
