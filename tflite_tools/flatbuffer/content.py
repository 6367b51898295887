"""The bytes of a model that was given as such, or by its path."""

import os
import pathlib
from typing import Any

from quantize_configs.errors import InvalidTypeError, MissingFileError

ModelFile = bytes | str | os.PathLike
"""Bytes of a .tflite file, or its path."""


def bytes_of(model: Any) -> bytes:
    """A model that must be given as its bytes.

    Raises:
      InvalidTypeError: They are no bytes.
    """
    if not isinstance(model, bytes | bytearray | memoryview):
        raise InvalidTypeError(
            "A model must be given as the bytes of its .tflite file, as tflite_tools.convert(model)"
            f" or pathlib.Path(file).read_bytes() give them. Received: {model!r:.200}"
        )
    return bytes(model)


def content_of(file: ModelFile) -> bytes:
    """The bytes of a model.

    Args:
      file: Bytes of a .tflite file, or its path.

    Raises:
      MissingFileError: There is no file at the path.
      InvalidTypeError: Neither bytes nor a path.
    """
    if isinstance(file, bytes | bytearray | memoryview):
        return bytes(file)
    if not isinstance(file, str | os.PathLike):
        raise InvalidTypeError(
            "A model is given as the bytes of a .tflite file or as its path. Received: "
            f"{type(file).__name__}."
        )
    path = pathlib.Path(file)
    if not path.is_file():
        raise MissingFileError(f"There is no model at {path}; export one or correct the path.")
    return path.read_bytes()
