"""Pools: a largest value keeps the grid of what it reads, a mean makes one."""

from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import LayerKind, Role

layers = keras.layers

LAYERS = {
    layers.MaxPooling2D: LayerKind(Role.PASSING),
    layers.GlobalMaxPooling2D: LayerKind(Role.PASSING),
    layers.AveragePooling2D: LayerKind(Role.ARITHMETIC),
    layers.GlobalAveragePooling2D: LayerKind(Role.ARITHMETIC),
}

RULES = ()
