"""Trained supernets as small files: the weights, and beside them what they are and how they came.

NAME.npz holds the weights in the order of `net.weights`, kernels of large nets as float16;
NAME.json the space, the options of the supernet, the recipe, its data, accuracies and licences.
Those that come along stand in `qfa_tf/pretrained`.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from qfa_tf.space import SearchSpace
from qfa_tf.supernet.protocol import Supernet
from quantize_configs.errors import DamagedFileError, InvalidInputError
from quantize_configs.files import write_bytes, write_text

FOLDER = pathlib.Path(__file__).parents[1] / "pretrained"
SCHEMA_VERSION = 1
_SMALL = 250_000
"""Nets of at most so many values (1 MB) are stored as they are."""
_KERNEL = 1024
"""Of larger ones, kernels of at least so many values are stored as float16; quantizers and
normalization stay exact."""


class PretrainedError(DamagedFileError):
    """The files of a trained supernet are damaged, or of another version."""


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """What a pair of files says.

    Attributes:
      name: Of the files.
      facts: The content of the JSON file: "space" (as `SearchSpace.to_json`), "options" of
        `QFASupernet`, "recipe", "data", "accuracy", "licence", "versions", "weights".
      arrays: Values of `net.weights`, in order, float32.
    """

    name: str
    facts: dict[str, Any]
    arrays: tuple[np.ndarray, ...]

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return SearchSpace.from_json(json.dumps(self.facts["space"]))


def pretrained_names() -> list[str]:
    """Names of the trained supernets that come along."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_pretrained(name: str | os.PathLike) -> Pretrained:
    """Reads the files of a trained supernet.

    Args:
      name: One of `pretrained_names()`, or the path of an .npz file with its .json beside it.

    Raises:
      InvalidInputError: There is none.
      PretrainedError: A file is damaged, or of another version.
    """
    path = pathlib.Path(name) if isinstance(name, str | os.PathLike) else pathlib.Path()
    if path.suffix != ".npz":
        if name not in pretrained_names():
            raise InvalidInputError(
                f"There is no trained supernet {name!s:.200}. Those that come along are "
                f"{', '.join(pretrained_names())}; another one is named by the path of its .npz "
                "file."
            )
        path = FOLDER / f"{name}.npz"
    try:
        content = path.read_bytes()
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        version, weights = facts["schema_version"], facts["weights"]
        if version != SCHEMA_VERSION:
            raise PretrainedError(
                f"{path.with_suffix('.json')} has schema version {version!r}; this release reads "
                f"version {SCHEMA_VERSION}."
            )
        if hashlib.sha256(content).hexdigest() != weights["sha256"]:
            raise ValueError("its digest is not the one that its .json file has")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = tuple(np.asarray(file[key], np.float32) for key in sorted(file.files))
    except FileNotFoundError as error:
        raise InvalidInputError(
            f"There is no file {error.filename}. A trained supernet is an .npz file with a .json "
            "file beside it."
        ) from error
    except PretrainedError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise PretrainedError(f"{path} is damaged ({error}). Install or make it again.") from error
    return Pretrained(path.stem, facts, arrays)


def stored_weights(net: Supernet) -> list[np.ndarray]:
    """The weights of a net in the types in which they are stored."""
    arrays = [np.asarray(weight.numpy(), np.float32) for weight in net.weights]
    if sum(array.size for array in arrays) <= _SMALL:
        return arrays
    halved = [array.ndim > 1 and array.size >= _KERNEL for array in arrays]
    return [
        array.astype(np.float16) if half else array
        for array, half in zip(arrays, halved, strict=True)
    ]


def assign_weights(net: Supernet, arrays: Sequence[np.ndarray], name: str) -> None:
    """Gives a net the weights of files.

    Raises:
      PretrainedError: They are not those of such a net.
    """
    shapes = [tuple(weight.shape) for weight in net.weights]
    found = [array.shape for array in arrays]
    if shapes != found:
        raise PretrainedError(
            f"The {len(found)} arrays of {name!r} are not the {len(shapes)} weights of this "
            "supernet; the files were made by another version of qfa_tf. Make them again."
        )
    for weight, array in zip(net.weights, arrays, strict=True):
        weight.assign(array.astype(np.float32))


def write_pretrained(
    folder: pathlib.Path, name: str, arrays: Sequence[np.ndarray], facts: dict[str, Any]
) -> pathlib.Path:
    """Writes both files; the JSON file, which makes the supernet known, last.

    Args:
      folder: Where to.
      name: Of the files.
      arrays: From `stored_weights`.
      facts: See `Pretrained`, without version and digest.

    Returns:
      The path of the .npz file.

    Raises:
      FileWriteError: They cannot be written.
    """
    buffer = io.BytesIO()
    named: dict[str, Any] = {f"{number:04}": array for number, array in enumerate(arrays)}
    np.savez_compressed(buffer, **named)
    content = buffer.getvalue()
    facts = {
        "schema_version": SCHEMA_VERSION,
        **facts,
        "weights": {
            "arrays": len(arrays),
            "values": int(sum(array.size for array in arrays)),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
    }
    path = folder / f"{name}.npz"
    write_bytes(path, content)
    write_text(path.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
    return path
