"""Whole supernets in the files of Keras: their training, and which files can be read again."""

import os
from typing import Any

from qfa_tf.supernet.protocol import Supernet
from qfa_tf.supernet.tasks import GivenTask
from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras

FORMAT = ".keras"


def compile_config(net: Supernet) -> dict[str, Any] | None:
    """What `compile` needs again; None where nothing was compiled, or something is no data.

    A teacher is none, nor are a loss and metrics.
    """
    method = net.training_method
    if method is None or method.recipe.teacher is not None or isinstance(net.task, GivenTask):
        return None
    serialize = keras.saving.serialize_keras_object
    compiled: dict[str, Any] = {"jit_compile": True} if net.jit_compile else {}
    if net.subnets_at_once:
        compiled["subnets_at_once"] = net.subnets_at_once
    return {"optimizer": serialize(net.optimizer), "training": serialize(method.recipe), **compiled}


def compile_again(net: Supernet, config: dict[str, Any]) -> None:
    """Compiles with what `compile_config` returned and makes the variables of the optimizer."""
    net.compile(
        **{key: keras.saving.deserialize_keras_object(part) for key, part in config.items()}
    )
    net.optimizer.build(net.trainable_variables)


def check_path(path: str | os.PathLike) -> None:
    """Refuses files that could be written and never be loaded.

    Raises:
      InvalidInputError: `path` does not end in ".keras".
    """
    if not os.fspath(path).endswith(FORMAT):
        raise InvalidInputError(
            f"A supernet is saved as one file that ends in {FORMAT!r}: net.save('supernet.keras'), "
            "then keras.models.load_model('supernet.keras'); its weights alone by "
            "net.save_weights('supernet.weights.h5'). A subnet of its own is made by "
            f"net.extract(arch, calibration). Received: {os.fspath(path)!r}."
        )
