"""What a program needs of its computer, checked before it works for hours."""

import importlib.util
import os
import pathlib
import shutil

from qfa_tf.runs.errors import WorkdirError
from quantize_configs.errors import MissingExtraError

EXTRAS = {
    "ai_edge_litert": ("ai-edge-litert", "litert"),
    "flatbuffers": ("flatbuffers", "litert"),
    "matplotlib": ("matplotlib", "plot"),
    "pymoo": ("pymoo", "search"),
    "ray": ("ray", "ray"),
    "sklearn": ("scikit-learn", "predictor"),
}
"""Module to (package, extra of qfa_tf that brings it)."""

_MEGABYTE = 1_000_000


def require_packages(purpose: str, *modules: str) -> None:
    """Checks that packages of extras are installed, without importing them.

    Args:
      purpose: What needs them, the subject of the sentence.
      *modules: Keys of `EXTRAS`.

    Raises:
      MissingExtraError: One is missing; the message has the command that installs it.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(purpose, *EXTRAS[module])


def require_writable(folder: pathlib.Path) -> None:
    """Checks that files can be written into a folder, or that it can be made.

    Raises:
      WorkdirError: They cannot.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise WorkdirError(f"{there} cannot be written. Make it writable, or choose another one.")


def require_space(path: pathlib.Path, needed: int, what: str) -> None:
    """Checks that a folder can be written and has so much space.

    Args:
      path: The folder, which exists.
      needed: Bytes.
      what: What takes them.

    Raises:
      WorkdirError: The folder cannot be written, or has less.
    """
    require_writable(path)
    free = shutil.disk_usage(path).free
    if free < needed:
        raise WorkdirError(
            f"{path} has {free / _MEGABYTE:,.0f} MB of free space, and {what} take about "
            f"{needed / _MEGABYTE:,.0f} MB. Free some space, or choose another --workdir."
        )
