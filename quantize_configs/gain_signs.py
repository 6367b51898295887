"""Turning over channels whose normalization has a negative gain; the function stays the same.

    gamma (w x + b - mean) / d + beta = (-gamma) (-w x - b + mean) / d + beta

Folding a negative gain would turn the integers of its channel over, and the lowest code of 2 or 4
bits has no counterpart, so that the weight could not be packed.
"""

import numpy as np

from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import WEIGHT_ATTRIBUTES, Role
from quantize_configs.model_graph import LayerCall, ModelGraph


def gain_signs(graph: ModelGraph) -> dict[str, np.ndarray]:
    """Signs, 1 or -1 by channel, by layer with a weight and by its normalization, where one is -1.

    Args:
      graph: Of a float model.
    """
    signs = {}
    for call in graph.calls:
        reader = graph.sole_reader(call.name) if call.role is Role.LINEAR else None
        if reader is None or reader.role is not Role.NORMALIZATION or not reader.layer.scale:
            continue
        found = np.where(reader.layer.gamma.numpy() < 0, -1.0, 1.0).astype(np.float32)
        if (found < 0).any():
            signs[call.name] = signs[reader.name] = found
    return signs


def turn_over(layer: keras.layers.Layer, call: LayerCall, signs: np.ndarray) -> None:
    """Multiplies a copy of the layer of `call` with signs by channel."""
    if call.role is Role.NORMALIZATION:
        layer.gamma.assign(layer.gamma * signs)
        layer.moving_mean.assign(layer.moving_mean * signs)
        return
    weight = getattr(layer, WEIGHT_ATTRIBUTES[type(layer)])
    is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    weight.assign(weight * (signs.reshape(weight.shape[-2:]) if is_depthwise else signs))
    if layer.use_bias:
        layer.bias.assign(layer.bias * signs)
