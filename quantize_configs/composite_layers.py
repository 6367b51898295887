"""Layers that people build of other layers, taken apart into the model of those."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import UnsupportedLayerError

TOLERANCE = 1e-5
"""Largest difference of an output, as a share of the largest one and at least of 1."""
OPEN_SIZE = 32
"""Pixels of an open size in the comparison."""
SEED = 0


def as_model(layer: Any, node: Any) -> keras.Model:
    """The functional model of what a composite layer does when it is called.

    The layer's `call` runs once on symbolic tensors, outside of training. What comes out counts
    only if it consists of the layers inside, has all their weights, and gives what the layer gives
    on random inputs.

    Args:
      layer: Of a class of one's own, with layers inside; or a subclassed model.
      node: The Keras node of its call.

    Raises:
      UnsupportedLayerError: There is no such model; the sentence says why.
    """
    inputs = [
        keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=f"{layer.name}_input_{number}")
        for number, tensor in enumerate(node.keras_inputs)
    ]
    by_tensor = {id(old): new for old, new in zip(node.keras_inputs, inputs, strict=True)}
    arguments, options = tf.nest.map_structure(
        lambda value: by_tensor.get(id(value), value), (node.call_args, node.call_kwargs)
    )
    try:
        outputs = layer.call(*arguments, **{**options, **_inference(layer)})
        model = keras.Model(inputs, outputs, name=layer.name)
    except Exception as error:  # whatever a layer of one's own raises without values
        reason = f"its call needs values ({type(error).__name__}: {str(error)[:100]})"
        raise _refusal(layer, reason) from error
    found = {weight.ref() for weight in model.weights}
    lost = [weight.name for weight in layer.weights if weight.ref() not in found]
    if lost:
        raise _refusal(layer, f"its weights {', '.join(lost[:3])} belong to no layer that it calls")
    if not _agree(layer, model, arguments, options):
        raise _refusal(layer, "its layers alone give other outputs than it does on random inputs")
    return model


def _refusal(layer: Any, reason: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        f"Layer {layer.name!r} ({type(layer).__name__}) is built of others and cannot be taken "
        f"apart: {reason}. Call its layers in the functional model itself, or keep it outside."
    )


def is_composite(layer: Any) -> bool:
    """Whether it is of a class of somebody's own and has layers inside."""
    if isinstance(layer, keras.Model):
        return not layer._is_graph_network
    is_own = type(layer).__module__.split(".")[0] not in ("keras", "tf_keras")
    return is_own and any(True for _ in layer._flatten_layers(include_self=False))


def _inference(layer: Any) -> dict[str, bool]:
    """`training=False` where `call` asks for it."""
    return {"training": False} if layer._expects_training_arg else {}


def _agree(
    layer: Any, model: keras.Model, arguments: Sequence[Any], options: Mapping[str, Any]
) -> bool:
    rng = np.random.default_rng(SEED)
    values = [
        tf.constant(
            rng.normal(size=[2, *(size or OPEN_SIZE for size in tensor.shape[1:])]), "float32"
        )
        for tensor in model.inputs
    ]
    by_tensor = {id(old): new for old, new in zip(model.inputs, values, strict=True)}
    given, named = tf.nest.map_structure(
        lambda value: by_tensor.get(id(value), value), (arguments, dict(options))
    )
    try:
        expected = layer(*given, **{**named, **_inference(layer)})
        found = model(values if len(values) > 1 else values[0], training=False)
    except Exception:  # images of random numbers of this size are not what it takes
        return False
    pairs = zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True)
    return all(
        float(tf.reduce_max(tf.abs(a - b))) <= TOLERANCE * max(1.0, float(tf.reduce_max(tf.abs(a))))
        for a, b in pairs
    )
