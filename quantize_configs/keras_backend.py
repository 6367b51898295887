"""The one place that picks Keras: `tf_keras`, which TFMOT is built on."""

import os
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tf_keras as keras

from quantize_configs.errors import InvalidInputError, InvalidTypeError

__all__ = ["keras", "require_functional", "require_tf_keras"]


def require_tf_keras(thing: object, role: str) -> None:
    """Refuses objects that are not `tf_keras` layers, models or optimizers.

    Args:
      thing: What the caller was given.
      role: What it is for, used in the message ("model", "optimizer").

    Raises:
      InvalidTypeError: `thing` comes from Keras 3 or from something else.
    """
    if isinstance(thing, keras.layers.Layer | keras.optimizers.Optimizer):
        return
    origin = type(thing).__module__.split(".")[0]
    advice = (
        "This is a Keras 3 object; build it with `import tf_keras as keras` instead of "
        "`import keras`, or set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported."
        if origin == "keras"
        else "Pass a tf_keras object."
    )
    raise InvalidTypeError(
        f"The {role} must come from tf_keras. Received: {type(thing).__module__}."
        f"{type(thing).__qualname__}. {advice}"
    )


def require_functional(model: Any, role: str = "model") -> None:
    """Refuses everything but built functional or sequential `tf_keras` models.

    Raises:
      InvalidTypeError: `model` is no `tf_keras` model, or a subclassed one.
      InvalidInputError: `model` has no input shape yet.
    """
    require_tf_keras(model, role)
    if not isinstance(model, keras.Model):
        raise InvalidTypeError(f"The {role} must be a Model. Received the layer {model.name!r}.")
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise InvalidInputError(
                f"The {role} {model.name!r} has no input shape yet. Call build(input_shape) first."
            )
    elif not model._is_graph_network:
        raise InvalidTypeError(
            f"The {role} {model.name!r} is a subclassed Model, whose layers cannot be listed. "
            "Build it with the functional API or as a Sequential, or, if its call does nothing but "
            "call layers and operators: keras.Model(inputs, model.call(inputs))."
        )
