"""Saving a quantized model as a JSON configuration and its weights.

Weights go by the names of their layers: a model rebuilt from its configuration lists the weights
of a TFMOT wrapper in another order than `quantize` does, so files that keep only the order (HDF5,
`set_weights`) do not fit.
"""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.bias_corrections import corrections_of, mark_untrained
from quantize_configs.deployment import (
    CONTAINER_ATTRIBUTE,
    RUNTIME_ATTRIBUTE,
    mark_prepared,
    prepared_container,
    prepared_runtime,
)
from quantize_configs.errors import (
    DamagedFileError,
    ExistingFileError,
    InvalidInputError,
    MissingFileError,
)
from quantize_configs.files import FileWriteError
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.kernels.registry import DEFAULT
from quantize_configs.quantized_model import QuantizedModel
from quantize_configs.scheme import quantize_scope

SCHEMA_VERSION = 1
CONFIG_FILE = "model.json"
WEIGHTS_FILE = "weights.npz"
CORRECTIONS_FILE = "corrections.npz"


def save_model(model: keras.Model, folder: str | os.PathLike) -> None:
    """Saves a quantized model into a new folder.

    Args:
      model: Result of `quantize` (the optimizer is not saved).
      folder: Must not exist yet.

    Raises:
      ExistingFileError: `folder` exists.
      FileWriteError: It could not be written; nothing is left behind.
    """
    require_functional(model)
    folder = pathlib.Path(folder)
    if folder.exists():
        raise ExistingFileError(f"{folder} exists already. Choose another folder or remove it.")
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        content = {
            "schema_version": SCHEMA_VERSION,
            "model": json.loads(model.to_json()),
            CONTAINER_ATTRIBUTE: prepared_container(model),
            RUNTIME_ATTRIBUTE: prepared_runtime(model),
        }
        (temporary / CONFIG_FILE).write_text(json.dumps(content, indent=1))
        values = {name: weight.numpy() for name, weight in named_weights(model).items()}
        np.savez(temporary / WEIGHTS_FILE, **values)
        if (corrections := corrections_of(model)) is not None:
            arrays: dict[str, Any] = dict(corrections.offsets)
            np.savez(temporary / CORRECTIONS_FILE, **arrays)
        os.replace(temporary, folder)
    except OSError as error:
        raise FileWriteError(f"Could not save the model to {folder}: {error}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def load_model(folder: str | os.PathLike) -> keras.Model:
    """Rebuilds a model that `save_model` saved, with every weight and quantizer variable.

    Raises:
      MissingFileError: `folder` holds no saved model.
      DamagedFileError: A file is damaged or of another schema version.
    """
    folder = pathlib.Path(folder)
    try:
        content = json.loads((folder / CONFIG_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(
            f"{folder} holds no quantized model: {CONFIG_FILE} is missing."
        ) from error
    except ValueError as error:
        raise DamagedFileError(f"{folder / CONFIG_FILE} is damaged: {error}.") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise DamagedFileError(
            f"{folder / CONFIG_FILE} has schema version {version!r}; this release reads version "
            f"{SCHEMA_VERSION}."
        )
    try:
        with quantize_scope():
            entry = {**content["model"], "class_name": QuantizedModel.__name__}
            model = keras.models.model_from_json(json.dumps(entry))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedFileError(f"{folder / CONFIG_FILE} is damaged: {error}.") from error
    with _reading(folder / WEIGHTS_FILE) as values:
        _assign(named_weights(model), values)
    if (folder / CORRECTIONS_FILE).exists():
        with _reading(folder / CORRECTIONS_FILE) as offsets:
            mark_untrained(model, dict(offsets))
    if content.get(CONTAINER_ATTRIBUTE) is not None:
        mark_prepared(
            model, content[CONTAINER_ATTRIBUTE], content.get(RUNTIME_ATTRIBUTE) or DEFAULT
        )
    return model


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of a file; what goes wrong with them is the file's fault."""
    try:
        with open(path, "rb") as file, np.load(file) as values:
            yield values
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise DamagedFileError(f"{path} is damaged or belongs to another model: {error}") from error


def named_weights(model: keras.Model) -> dict[str, tf.Variable]:
    """All weights of a quantized model by "<layer>/<weight>"."""
    named = {
        f"{layer.name}/{weight.name.rsplit('/', 1)[-1]}": weight
        for layer in model.layers
        for weight in layer.weights
    }
    if len(named) != len(model.weights):
        raise InvalidInputError(f"Two weights of one layer of {model.name!r} have the same name.")
    return named


def _assign(weights, values) -> None:
    different = sorted(set(weights) ^ set(values))
    if different:
        raise ValueError(f"only the model or only the file has {different}")
    for name, weight in weights.items():
        weight.assign(values[name])
