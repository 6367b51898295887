"""Saving a quantized model as a JSON configuration and its weights."""

import json
import os
import pathlib
import shutil
import tempfile

from quantize_configs.files import FileWriteError
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.scheme import quantize_scope

SCHEMA_VERSION = 1
CONFIG_FILE = "model.json"
WEIGHTS_FILE = "weights.h5"  # the name ".weights.h5" would pick a format that TFMOT breaks


def save_model(model: keras.Model, folder: str | os.PathLike) -> None:
    """Saves a quantized model into a new folder.

    Args:
      model: Result of `quantize` (the optimizer is not saved).
      folder: Must not exist yet.

    Raises:
      FileExistsError: `folder` exists.
      FileWriteError: It could not be written; nothing is left behind.
    """
    require_functional(model)
    folder = pathlib.Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already. Choose another folder or remove it.")
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        content = {"schema_version": SCHEMA_VERSION, "model": json.loads(model.to_json())}
        (temporary / CONFIG_FILE).write_text(json.dumps(content, indent=1))
        model.save_weights(temporary / WEIGHTS_FILE, save_format="h5")
        os.replace(temporary, folder)
    except OSError as error:
        raise FileWriteError(f"Could not save the model to {folder}: {error}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def load_model(folder: str | os.PathLike) -> keras.Model:
    """Rebuilds a model that `save_model` saved, with every weight and quantizer variable.

    Raises:
      FileNotFoundError: `folder` holds no saved model.
      ValueError: A file is damaged or of another schema version.
    """
    folder = pathlib.Path(folder)
    try:
        content = json.loads((folder / CONFIG_FILE).read_text())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} holds no quantized model: {CONFIG_FILE} is missing."
        ) from error
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG_FILE} is damaged: {error}.") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{folder / CONFIG_FILE} has schema version {version!r}; this release reads version "
            f"{SCHEMA_VERSION}."
        )
    with quantize_scope():
        model = keras.models.model_from_json(json.dumps(content["model"]))
    try:
        model.load_weights(folder / WEIGHTS_FILE)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{folder / WEIGHTS_FILE} is damaged or belongs to another model: {error}"
        ) from error
    return model
