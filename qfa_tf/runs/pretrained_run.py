"""A workdir from a trained supernet that comes along, as if it had been trained here."""

import rich.console
from ml_collections import ConfigDict

from qfa_tf.runs.checkpoints import newest
from qfa_tf.runs.commands import command
from qfa_tf.runs.config import complete_config
from qfa_tf.runs.imported import require_same, save_imported
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.runs.training.lock import training_lock
from qfa_tf.runs.workdir import Workdir

SCHEMA_VERSION = 1


def start_from_pretrained(
    name: str,
    workdir: Workdir,
    *,
    data_name: str | None = None,
    console: rich.console.Console | None = None,
) -> None:
    """Makes a workdir that search, export and all other programs take, without any training.

    Args:
      name: See `QFASupernet.from_pretrained`.
      workdir: New, or made from the same supernet before.
      data_name: Where the images of its recipe are here, see `qfa_tf.data.load`; by default where
        they were.
      console: For progress.

    Raises:
      InvalidInputError: There is no such supernet.
      PretrainedError: Its files are damaged.
      ConfigError, WorkdirError: The workdir holds something else.
      CheckpointWriteError, FileWriteError: The disk is full.
    """
    console = console or new_console()
    say(console, "Loading TensorFlow.")
    load_tensorflow()
    from qfa_tf.supernet import QFASupernet
    from qfa_tf.supernet.pretrained import read_pretrained

    found = read_pretrained(name)
    config = _config(found.facts, data_name)
    source = {
        "schema_version": SCHEMA_VERSION,
        "pretrained": found.name,
        "sha256": found.facts["weights"]["sha256"],
        "data_fingerprint": found.facts["data"]["fingerprint"],
    }
    with training_lock(workdir):
        if newest(workdir.checkpoints) is not None:
            require_same(workdir, source)
            say(console, f"{workdir} holds this supernet already.")
        else:
            workdir.accepted(config)
            net = QFASupernet.from_pretrained(name)
            save_imported(workdir, config, net, source)
            say(console, f"{workdir} holds the supernet {found.name!r} now.")
    say(console, f"Next: {command('search', workdir=workdir)}")


def _config(facts: dict, data_name: str | None) -> ConfigDict:
    """The recipe of a supernet, with the images where they are and no teacher to look for."""
    config = ConfigDict(facts["recipe"])
    if data_name is not None:
        config.data.name = data_name
    config.training.initial_checkpoint = ""
    if config.training.distillation == "external":
        config.training.teacher, config.training.distillation = "", "none"
    return complete_config(config)
