"""Architectures as files and as values of a config."""

import json
import os
import pathlib

from qfa_tf.runs.errors import RunError
from qfa_tf.space import Architecture, ArchitectureError
from quantize_configs.files import write_text


def read_architecture(path: str | os.PathLike) -> Architecture:
    """Reads a file as `Architecture.to_json()` and `apps/search.py` write it.

    Raises:
      RunError: There is no such file, or it cannot be read.
      ArchitectureError: It is damaged.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise RunError(f"There is no architecture file {path}.")
    try:
        return Architecture.from_json(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ArchitectureError as error:
        raise ArchitectureError(f"{path}: {error}") from error


def write_architecture(architecture: Architecture, path: str | os.PathLike) -> None:
    """Writes what `read_architecture` reads, replacing the file as a whole.

    Raises:
      FileWriteError: It cannot be written; the old one is untouched.
    """
    write_text(path, architecture.to_json() + "\n")


def architecture_text(architecture: Architecture) -> str:
    """The JSON of an architecture in one line, the value of `config.training.architecture`."""
    return json.dumps(json.loads(architecture.to_json()), separators=(",", ":"))
