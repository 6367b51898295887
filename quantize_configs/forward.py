"""Running a model on a few batches without waiting for a graph."""

from collections.abc import Callable

import tensorflow as tf

from quantize_configs.keras_backend import keras

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
