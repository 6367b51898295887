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


def of_unit_pixels(model: keras.Model, pixel_range: tuple[float, float]) -> keras.Model:
    """A model of pixels in a range as one of images from 0 to 1, by a Rescaling in front of it.

    Args:
      model: Functional, with one input.
      pixel_range: What 0 and 1 of an image are for the model.
    """
    low, high = pixel_range
    if (low, high) == (0.0, 1.0):
        return model
    image = keras.Input(model.input_shape[1:], name="image")
    pixels = keras.layers.Rescaling(high - low, low, name="pixels")(image)
    return keras.Model(image, model(pixels), name=model.name)
