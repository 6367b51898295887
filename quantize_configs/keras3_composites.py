"""Keras 3 layers that people build of other layers, as the model of those."""

from typing import Any

import tensorflow as tf


def sublayers(layer: Any) -> list[Any]:
    """The layers inside a layer of Keras 3 of somebody's own class; none in one of Keras itself."""
    if type(layer).__module__.startswith("keras.src."):
        return []
    return list(getattr(layer, "_layers", ()))


def keras3_model(layer: Any, node: Any) -> Any:
    """The functional Keras 3 model of what a layer does when it is called, None without one.

    Its `call` runs once on symbolic tensors, outside of training. What comes out counts only if it
    has all weights of the layer; whether it computes the same is seen when the whole model is
    compared.

    Args:
      layer: Any layer of Keras 3.
      node: The node of its call.
    """
    if not sublayers(layer):
        return None
    import keras as keras3

    old = node.input_tensors
    inputs = [
        keras3.Input(tensor.shape[1:], dtype=tensor.dtype, name=f"{layer.name}_input_{number}")
        for number, tensor in enumerate(old)
    ]
    by_tensor = {id(one): new for one, new in zip(old, inputs, strict=True)}
    arguments, options = tf.nest.map_structure(
        lambda value: by_tensor.get(id(value), value),
        (tuple(node.arguments.args), dict(node.arguments.kwargs)),
    )
    if layer._call_has_training_arg:
        options["training"] = False
    try:
        model = keras3.Model(inputs, layer.call(*arguments, **options), name=layer.name)
    except Exception:  # whatever a layer of one's own raises without values
        return None
    own, found = ({id(weight) for weight in one.weights} for one in (layer, model))
    return model if own == found else None
