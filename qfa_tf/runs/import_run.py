"""A supernet of the official release as a finished run: what `apps/import_checkpoint.py` does."""

import hashlib
import json
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np
import rich.console
from ml_collections import ConfigDict

from qfa_tf.interop import classes_of, decode_gene, fill_official, official_space, read_state
from qfa_tf.runs.building import build_net, build_space
from qfa_tf.runs.checkpoints import newest
from qfa_tf.runs.commands import command
from qfa_tf.runs.config import complete_config
from qfa_tf.runs.errors import RunError
from qfa_tf.runs.imported import require_same, save_imported
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.runs.training.lock import training_lock
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import SearchSpace
from qfa_tf.supernet.options import RELEASE_OPTIONS
from quantize_configs.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA_VERSION = 1


def import_official(
    checkpoint: str | os.PathLike,
    config: ConfigDict,
    workdir: Workdir,
    *,
    width_mult: float = 1.2,
    zero_point: str = "integer",
    genes: str | os.PathLike | None = None,
    console: rich.console.Console | None = None,
) -> None:
    """Makes a workdir that search, evaluation and export accept as if it had been trained.

    Data, calibration and search come from the config; space, padding and number of classes from
    the release.

    Args:
      checkpoint: File of the release, see `qfa_tf.interop.read_state`.
      config: A recipe; its resolutions are kept.
      workdir: New, or made from the same file before.
      width_mult: Of the network in the file.
      zero_point: "integer", which can be exported, or "fractional", which computes what the
        release computes.
      genes: JSON file with a gene of 176 integers or a list of them; their architectures are
        written to `architectures/` of the workdir.
      console: For progress.

    Raises:
      OfficialStateError: The file cannot be read, or holds another network.
      ConfigError, WorkdirError: The config or the workdir is refused.
      RunError: The file of genes cannot be read.
      GenomeError: A gene is not of this space.
      CheckpointWriteError, FileWriteError: The disk is full.
    """
    console = console or new_console()
    say(console, "Loading TensorFlow.")
    load_tensorflow()
    state = read_state(checkpoint)
    config = complete_config(config)
    space = official_space(width_mult, classes_of(state), build_space(config).resolutions)
    config = _of_release(config, space, zero_point)
    architectures = [] if genes is None else [decode_gene(gene, space) for gene in _genes(genes)]
    source = _describe(checkpoint, state, width_mult, zero_point)
    if newest(workdir.checkpoints) is not None:
        require_same(workdir, source)
        say(console, f"{workdir} holds this network already.")
    else:
        say(console, f"Building the supernet of {space.name}: {space.size():.1e} subnets.")
        net = build_net(config)
        fill_official(net, state)
        with training_lock(workdir):
            save_imported(workdir, config, net, source)
        say(console, f"Imported {source['arrays']} arrays of {checkpoint}.")
    for index, architecture in enumerate(architectures):
        path = workdir.path / "architectures" / f"gene-{index}.json"
        write_text(path, architecture.to_json() + "\n")
        say(console, f"Wrote {path}")
    say(console, f"Next: {command('search', workdir=workdir)}")


def _of_release(config: ConfigDict, space: SearchSpace, zero_point: str) -> ConfigDict:
    """The config with what the release prescribes."""
    with config.ignore_type():
        config.space = ConfigDict(json.loads(space.to_json()))
    config.supernet.zero_point = zero_point
    config.supernet.padding = "symmetric"
    config.supernet.update(RELEASE_OPTIONS)
    config.supernet.activation_quantizer, config.supernet.shared_step = "batch", False
    config.training.method = "qfa"
    # The release uses every code; 8-bit codes of exported weights are symmetric.
    config.supernet.narrow_bits = (8,) if zero_point == "integer" else ()
    # There is nothing left to train: no other run, no teacher.
    config.training.initial_checkpoint = config.training.teacher = ""
    config.training.distillation = "none"
    return complete_config(config)


def _genes(path: str | os.PathLike) -> "list[Sequence[int]]":
    path = pathlib.Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        genes = np.array(content, np.int64)
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise RunError(f"{path} cannot be read as JSON lists of integers: {error}") from error
    return list(np.atleast_2d(genes))


def _describe(
    checkpoint: str | os.PathLike,
    state: "Mapping[str, np.ndarray]",
    width_mult: float,
    zero_point: str,
) -> dict:
    path = pathlib.Path(checkpoint)
    return {
        "schema_version": SCHEMA_VERSION,
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "arrays": len(state),
        "width_mult": width_mult,
        "zero_point": zero_point,
    }
