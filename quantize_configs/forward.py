"""Running a model on a few batches without waiting for a graph."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import MERGING_LAYERS, Role
from quantize_configs.model_graph import ModelGraph

EAGER_CALLS = 16
"""Calls that cost about as much as tracing: a graph of a quantized layer takes 0.1 s to build."""


def forward_function(model: keras.Model) -> Callable:
    """The model outside training, as a function of its inputs.

    The first calls run eagerly, later ones in a graph.
    """
    calls = 0

    def eager(inputs):
        return model(inputs, training=False)

    traced = tf.function(eager, reduce_retracing=True, autograph=False)

    def forward(inputs):
        nonlocal calls
        calls += 1
        return eager(inputs) if calls <= EAGER_CALLS else traced(inputs)

    return forward


def observed_forward(
    graph: ModelGraph, images: Sequence[np.ndarray], names: Collection[str], rows: int
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Runs a model outside training, eagerly, layer by layer.

    Args:
      graph: Of the model.
      images: One batch for each input of the model.
      names: Tensors to observe.
      rows: How many samples of them to keep, from the first.

    Returns:
      (outputs of the model, the first rows of the tensors by name). Other tensors are forgotten as
      soon as no layer needs them any more.
    """
    given = dict(zip(graph.inputs, images, strict=True))
    values: dict[str, tf.Tensor] = {}
    observed: dict[str, np.ndarray] = {}
    unread = {call.name: len(graph.readers(call.name)) for call in graph.calls}
    for call in graph.calls:
        if call.role is Role.INPUT:
            value = tf.convert_to_tensor(given[call.name])
        else:
            arguments: Any = [values[name] for name in call.inputs]
            arguments = arguments if isinstance(call.layer, MERGING_LAYERS) else arguments[0]
            options = {"training": False} if call.owner._expects_training_arg else {}
            value = call.owner(arguments, **options)
        values[call.name] = value
        if call.name in names:
            observed[call.name] = value[:rows].numpy()
        for name in call.inputs:
            unread[name] -= 1
            if not unread[name] and name not in graph.outputs:
                del values[name]
    return [values[name].numpy() for name in graph.outputs], observed
