"""Writing a model's layers and operators as layers that can be quantized.

tf_keras.applications and other models compute hard-sigmoid and hard-swish from operators
(`relu6(x + 3) * (1 / 6)`), and give Dense and Conv2D layers activations that no device fuses. The
rules of `quantize_configs.layers` make layers of these; the function of the model stays the same.
"""

import tensorflow as tf

from quantize_configs.editable_graph import EditableGraph, copied
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.layer_roles import kind_of
from quantize_configs.layers.kinds import Refuse, UnsupportedLayerError, raise_refusal
from quantize_configs.layers.registry import LAYERS, RULES

__all__ = ["as_quantizable", "copied"]


def as_quantizable(model: keras.Model) -> keras.Model:
    """A model of supported layers that computes what `model` does.

    Returns:
      `model` itself when nothing is to be rewritten, otherwise a copy with the same weights. Names
      of convolutions and dense layers stay.

    Raises:
      UnsupportedLayerError: A layer is unknown.
      TypeError, ValueError: `model` is no built functional or sequential `tf_keras` model.
    """
    require_functional(model)
    graph = rewritten(model)
    for node in graph.nodes.values():
        kind_of(node.layer)
    if not graph.changed:
        return model
    return tf.autograph.experimental.do_not_convert(graph.rebuilt)()


def rewritten(model: keras.Model) -> EditableGraph:
    """The calls of a model after all rules."""
    graph = EditableGraph(model, LAYERS)
    apply_rules(graph)
    return graph


def apply_rules(graph: EditableGraph, refuse: Refuse = raise_refusal) -> None:
    """Rewrites the calls of a graph by all rules, one after the other.

    Args:
      graph: Changed in place.
      refuse: Takes note of layers that will not go through; by default the first one is raised.
    """
    for rule in RULES:
        for name in list(graph.nodes):
            if name in graph.nodes:
                try:
                    rule(graph, name)
                except UnsupportedLayerError as error:
                    refuse(name, error)
