"""Workdirs whose supernet was not trained in them: what they came from, and making them."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from qfa_tf.runs.building import build_optimizer, build_training
from qfa_tf.runs.checkpoints import TrainingState
from qfa_tf.runs.config import total_steps
from qfa_tf.runs.errors import WorkdirError
from qfa_tf.runs.training.progress import Progress
from qfa_tf.runs.workdir import Workdir
from quantize_configs.files import write_text

if TYPE_CHECKING:
    from qfa_tf.supernet import QFASupernet


def save_imported(
    workdir: Workdir, config: ConfigDict, net: "QFASupernet", source: Mapping[str, Any]
) -> None:
    """Claims a workdir and saves a supernet as if its training had ended there.

    Args:
      workdir: New; its lock is held.
      config: Of the run, complete.
      net: With its weights.
      source: What it came from, in JSON types.

    Raises:
      ConfigError, WorkdirError: The workdir holds something else.
      CheckpointWriteError, FileWriteError: The disk is full.
    """
    net.compile(optimizer=build_optimizer(config), training=build_training(config))
    net.optimizer.build(net.trainable_variables)
    workdir.claim(config)
    write_text(workdir.import_file, json.dumps(dict(source), indent=1) + "\n")
    steps = total_steps(config)
    progress = Progress(steps, config.training.seed, len(config.training.stage_steps) - 1)
    TrainingState(workdir.checkpoints, net).save(progress)


def import_source(workdir: Workdir) -> dict[str, Any] | None:
    """What `save_imported` noted; None where the supernet was trained in the workdir.

    Raises:
      WorkdirError: The note is damaged.
    """
    if not workdir.import_file.is_file():
        return None
    try:
        return dict(json.loads(workdir.import_file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise WorkdirError(f"{workdir.import_file} is damaged: {error}") from error


def require_same(workdir: Workdir, source: Mapping[str, Any]) -> None:
    """Checks that a workdir with weights came from the same source.

    Raises:
      WorkdirError: It did not.
    """
    there = import_source(workdir)
    if there is None:
        raise WorkdirError(
            f"{workdir} holds a training. It was left as it is; choose another --workdir."
        )
    if there != dict(source):
        raise WorkdirError(
            f"{workdir} holds another imported network: {there}. Received: {dict(source)}. It was "
            "left as it is; choose another --workdir."
        )
