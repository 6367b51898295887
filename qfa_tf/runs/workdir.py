"""The folder of a run: where each file stands, and which config it belongs to."""

import os
import pathlib
from typing import Any

from ml_collections import ConfigDict

from qfa_tf.runs.commands import command
from qfa_tf.runs.config import (
    complete_config,
    continued_config,
    differences,
    read_config,
    validate_config,
    write_config,
)
from qfa_tf.runs.errors import WorkdirError

SHOWN_DIFFERENCES = 3
_START = "--config.training.initial_checkpoint"
SHOWN_CHARACTERS = 100
_SEARCH = "search."


class Workdir:
    """Names of the files of a run.

    Args:
      path: Folder; nothing is made or read here.

    Attributes:
      path: The folder.
      config_file: The resolved config, `config.json`.
      checkpoints: Folder of the weights.
      logs: Folder of TensorBoard files.
      training_csv: One row per epoch.
      probes_csv: Accuracies of fixed subnets every few epochs.
      quantizers_csv: Learned scales and ranges of every site every few epochs.
      training_png: Curves of both.
      divergence_file: Where a training that diverged went wrong.
      probes_file: Accuracies at the end of the training.
      teacher_file: Which external teacher the training has.
      data_images: Which images it was made from, and the split of each.
      data_json: The same in short, for people.
      import_file: Which file of another release an imported supernet comes from.
      lock_file: Held by the training process.
      evaluations: Every evaluated subnet, `evaluations.sqlite`.
      searches: Folder of the searches, a folder each; see `runs.searching.folder`.
      models: Folder of `*.tflite`, each with a `.json` beside it.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.config_file = self.path / "config.json"
        self.checkpoints = self.path / "checkpoints"
        self.logs = self.path / "logs"
        self.training_csv = self.logs / "train.csv"
        self.probes_csv = self.logs / "probes.csv"
        self.quantizers_csv = self.logs / "quantizers.csv"
        self.training_png = self.path / "training.png"
        self.divergence_file = self.logs / "divergence.json"
        self.teacher_file = self.path / "teacher.json"
        self.data_images = self.path / "data_images.npz"
        self.data_json = self.path / "data.json"
        self.import_file = self.path / "imported.json"
        self.lock_file = self.path / "train.lock"
        self.probes_file = self.logs / "probes.json"
        self.evaluations = self.path / "evaluations.sqlite"
        self.searches = self.path / "searches"
        self.models = self.path / "models"

    def __str__(self) -> str:
        return str(self.path)

    def config(self) -> ConfigDict:
        """The config of the run.

        Raises:
          WorkdirError: There is none; the message names the training command.
          ConfigError: `config.json` is damaged.
        """
        if not self.config_file.is_file():
            raise WorkdirError(
                f"{self.path} is no workdir: {self.config_file.name} is missing. Train first: "
                f"{command('train', recipe='digits', workdir=self.path)}"
            )
        return read_config(self.config_file)

    def claim(self, config: ConfigDict) -> ConfigDict:
        """Makes this the workdir of `config`, or checks that it already is.

        The settings of a search are no part of that: they are those of the last config given.

        Returns:
          `config`, complete; where it has defaults that came after this workdir was made, with what
          the workdir had before.

        Raises:
          WorkdirError: It belongs to another config, or holds files of something else.
          ConfigError: `config` is not valid, or the `config.json` here is damaged.
          FileWriteError: `config.json` cannot be written.
        """
        config = self.accepted(config)
        if not self.config_file.is_file() or differences(read_config(self.config_file), config):
            write_config(config, self.config_file)
        return config

    def accepted(self, config: ConfigDict) -> ConfigDict:
        """What `claim` returns, and what it raises, without writing anything."""
        validate_config(config)
        self.check_folder()
        if not self.config_file.is_file():
            return complete_config(config)
        config = continued_config(config, self.config_file)
        changes = differences(read_config(self.config_file), config)
        changes = [change for change in changes if not change[0].startswith(_SEARCH)]
        if changes:
            shown = "; ".join(_difference(*change) for change in changes[:SHOWN_DIFFERENCES])
            rest = len(changes) - SHOWN_DIFFERENCES
            more = f" (and {rest} more)" if rest > 0 else ""
            longer = any(key == "training.stage_steps" for key, *_ in changes)
            raise WorkdirError(
                f"{self.path} belongs to another config: {shown}{more}. It was left as it is; "
                "choose another --workdir, or repeat the command with the config of this one."
                + longer
                * f" To train longer from here, add {_START}={self.path} there."
            )
        return config

    def check_folder(self) -> None:
        """Checks that the folder is a workdir, is empty, or does not exist yet.

        Raises:
          WorkdirError: It is a file, or holds files of something else.
        """
        if self.config_file.is_file():
            return
        if self.path.exists() and not self.path.is_dir():
            raise WorkdirError(f"{self.path} is a file. Choose another --workdir.")
        found = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
        own = (f".{self.config_file.name}", self.lock_file.name)
        found = [name for name in found if not name.startswith(own)]
        if found:
            raise WorkdirError(
                f"{self.path} is not empty and has no {self.config_file.name}, so it is no workdir "
                f"(it holds {found[0]}). It was left as it is; choose another --workdir."
            )


def _difference(key: str, there: Any, here: Any) -> str:
    """A key and its values, unless they are whole spaces or architectures."""
    values = repr(there), repr(here)
    if max(map(len, values)) > SHOWN_CHARACTERS:
        return f"{key} is another one there than here"
    return f"{key} is {values[0]} there and {values[1]} here"
