"""Writing a model's layers and operators as layers that can be quantized.

tf_keras.applications and other models compute hard-sigmoid and hard-swish from operators
(`relu6(x + 3) * (1 / 6)`), and give Dense and Conv2D layers activations that no device fuses. The
rules of `quantize_configs.layers` make layers of these; the function of the model stays the same.
"""

import tensorflow as tf

from quantize_configs.editable_graph import EditableGraph, copied
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.layers.registry import LAYERS, RULES

__all__ = ["as_quantizable", "copied"]


def as_quantizable(model: keras.Model) -> keras.Model:
    """A model of supported layers that computes what `model` does.

    Returns:
      `model` itself when nothing is to be rewritten, or when a layer is unknown anyway; otherwise
      a copy with the same weights. Names of convolutions and dense layers stay.

    Raises:
      TypeError, ValueError: `model` is no built functional or sequential `tf_keras` model.
    """
    require_functional(model)
    graph = EditableGraph(model)
    changed = False
    if graph.is_regular:
        for rule in RULES:
            for name in list(graph.nodes):
                changed |= rule(graph, name)
    if not changed or any(type(node.layer) not in LAYERS for node in graph.nodes.values()):
        return model
    return tf.autograph.experimental.do_not_convert(graph.rebuilt)()
