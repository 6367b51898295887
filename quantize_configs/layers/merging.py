"""Layers that join tensors: they merge grids, or bring what they join onto one."""

from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import LayerKind, Role

layers = keras.layers

LAYERS = {
    layers.Add: LayerKind(Role.ARITHMETIC, merges=True),
    layers.Multiply: LayerKind(Role.ARITHMETIC, merges=True),
    layers.Concatenate: LayerKind(Role.ARITHMETIC, merges=True, shares_grid=True),
}

RULES = ()
