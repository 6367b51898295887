"""Keras models from files."""

import os
import pathlib
from typing import Any

from quantize_configs.errors import DamagedFileError, MissingFileError
from quantize_configs.keras3_bridge import as_tf_keras
from quantize_configs.keras_backend import keras


def as_model(model: Any) -> Any:
    """A model as one of `tf_keras`, or the one in the file (.keras, .h5) that a path names.

    Raises:
      MissingFileError: There is no such file.
      DamagedFileError: `tf_keras` cannot load it.
    """
    if not isinstance(model, str | os.PathLike):
        return as_tf_keras(model)
    path = pathlib.Path(model)
    if not path.exists():
        raise MissingFileError(f"There is no Keras model {path}.")
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise DamagedFileError(
            f"{path} is no model that tf_keras can load: {str(error).strip().splitlines()[0]}"
        ) from error
