"""Weights on disk: saving them, finding the newest ones, naming and restoring them."""

import hashlib
import pathlib
import re
from typing import TYPE_CHECKING

from qfa_tf.runs.building import build_net
from qfa_tf.runs.commands import command
from qfa_tf.runs.errors import CheckpointError, CheckpointWriteError
from qfa_tf.runs.training.progress import Progress
from qfa_tf.runs.workdir import Workdir

if TYPE_CHECKING:
    from qfa_tf.supernet import QFASupernet

MAX_TO_KEEP = 2
STATE_FILE = "checkpoint"
_PREFIX = "ckpt"
_LISTED = re.compile(r'^all_model_checkpoint_paths: "(.+)"$', re.MULTILINE)


class TrainingState:
    """The checkpoints of a supernet in training: weights, optimizer and progress.

    Args:
      folder: Where they stand.
      net: Compiled, its optimizer built.
      writes: Whether this process writes; on several machines one does, all of them read.
    """

    def __init__(self, folder: pathlib.Path, net: "QFASupernet", writes: bool = True):
        import tensorflow as tf

        self._folder = folder
        self._progress = tf.Variable("", dtype=tf.string)
        self._checkpoint = tf.train.Checkpoint(
            net=net, optimizer=net.optimizer, progress=self._progress
        )
        self._manager = None
        if writes:
            self._manager = tf.train.CheckpointManager(
                self._checkpoint, str(folder), max_to_keep=MAX_TO_KEEP, checkpoint_name=_PREFIX
            )

    def resume(self) -> Progress | None:
        """Restores the newest checkpoint; None when there is none.

        Raises:
          CheckpointError: It is damaged.
        """
        prefix = newest(self._folder)
        if prefix is None:
            return None
        _read_into(self._checkpoint, prefix)
        progress = Progress.from_json(self._progress.numpy().decode())
        if progress.step != step_of(prefix):
            raise _damaged(prefix, prefix.name, f"it is of step {progress.step}")
        return progress

    def save(self, progress: Progress) -> None:
        """Writes a checkpoint, then removes all but the last two.

        Raises:
          CheckpointWriteError: The operating system refused.
        """
        import tensorflow as tf

        if self._manager is None:
            return
        self._progress.assign(progress.to_json())
        try:
            self._manager.save(checkpoint_number=progress.step)
        except (tf.errors.OpError, OSError) as error:
            raise CheckpointWriteError(
                f"Could not write the checkpoint of step {progress.step} in {self._folder}: "
                f"{_first_line(error)}. Earlier ones are kept; free some space, then run the same "
                "command again."
            ) from error


def restore(workdir: Workdir) -> tuple["QFASupernet", str]:
    """The trained supernet of a run and the key of its weights.

    Raises:
      WorkdirError, ConfigError: There is no run.
      CheckpointError: There is no checkpoint, or it is damaged.
    """
    import tensorflow as tf

    prefix = require_newest(workdir)
    net = build_net(workdir.config())
    _read_into(tf.train.Checkpoint(net=net), prefix)
    return net, key_of(prefix)


def newest(folder: pathlib.Path) -> pathlib.Path | None:
    """Prefix of the newest complete checkpoint, None when there is none.

    The file `checkpoint`, written last, lists the complete ones; those that were removed since
    are passed over. Without that file (killed during the first checkpoint, or lost) all that can
    be opened count.

    Raises:
      CheckpointError: The file `checkpoint` is damaged.
    """
    state = folder / STATE_FILE
    if state.is_file():
        names = _LISTED.findall(state.read_text(encoding="utf-8", errors="replace"))
        prefixes = [folder / pathlib.PurePath(name).name for name in names]
        if not prefixes or any(_number(prefix.name) is None for prefix in prefixes):
            raise CheckpointError(
                f"{state} is damaged: it lists no checkpoint. It was left as it is; remove it to "
                f"continue with the newest checkpoint in {folder}."
            )
        prefixes = [prefix for prefix in prefixes if _index(prefix).is_file()]
    else:
        prefixes = [path.with_suffix("") for path in folder.glob(f"{_PREFIX}-*.index")]
        prefixes = [prefix for prefix in prefixes if _index_error(prefix) is None]
    return max(prefixes, key=step_of, default=None)


def require_newest(workdir: Workdir) -> pathlib.Path:
    """Prefix of the newest checkpoint of a run.

    Raises:
      WorkdirError, ConfigError: There is no run.
      CheckpointError: There is no checkpoint; the message names the training command.
    """
    workdir.config()
    prefix = newest(workdir.checkpoints)
    if prefix is None:
        raise CheckpointError(
            f"{workdir} has no checkpoint yet. Train first, with the config of this workdir: "
            f"{command('train', recipe='digits', workdir=workdir)}"
        )
    return prefix


def step_of(prefix: pathlib.Path) -> int:
    """The training step at which a checkpoint was written."""
    number = _number(prefix.name)
    if number is None:
        raise CheckpointError(f"{prefix} is no checkpoint of a training.")
    return number


def key_of(prefix: pathlib.Path) -> str:
    """Identifies weights: the step and a digest of the files.

    Raises:
      CheckpointError: A file is missing.
    """
    digest = hashlib.sha256()
    files = sorted(prefix.parent.glob(f"{prefix.name}.data-*"))
    if not files:
        raise _damaged(prefix, f"{prefix.name}.data-*", "it is missing")
    for path in [_index(prefix), *files]:
        digest.update(path.read_bytes())
    return f"step-{step_of(prefix)}-{digest.hexdigest()[:12]}"


def _read_into(checkpoint, prefix: pathlib.Path) -> None:
    """Fills all variables of a `tf.train.Checkpoint`, or raises CheckpointError."""
    import tensorflow as tf

    reason = _index_error(prefix)
    if reason is not None:
        raise _damaged(prefix, _index(prefix).name, reason)
    try:
        status = checkpoint.restore(str(prefix))
        status.assert_existing_objects_matched().expect_partial()
    except AssertionError as error:
        raise CheckpointError(
            f"{prefix} was written by another version of qfa_tf, whose supernet has other "
            "variables. It was left as it is; train into another --workdir."
        ) from error
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError, OSError) as error:
        files = sorted(prefix.parent.glob(f"{prefix.name}.data-*"))
        name = files[0].name if files else f"{prefix.name}.data-*"
        raise _damaged(prefix, name, _first_line(error) if files else "it is missing") from error


def _index(prefix: pathlib.Path) -> pathlib.Path:
    return prefix.with_name(f"{prefix.name}.index")


def _index_error(prefix: pathlib.Path) -> str | None:
    """Why the index of a checkpoint cannot be read, None when it can."""
    import tensorflow as tf

    try:
        tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError, OSError) as error:
        return _first_line(error)
    return None


def _number(name: str) -> int | None:
    match = re.fullmatch(rf"{_PREFIX}-(\d+)", name)
    return int(match[1]) if match else None


def _first_line(error: Exception) -> str:
    return str(getattr(error, "message", error)).strip().split("\n")[0] or type(error).__name__


def _damaged(prefix: pathlib.Path, name: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint file {prefix.parent / name} is damaged ({reason}). It was left as it is; "
        f"remove {prefix}.* to fall back to the checkpoint before it."
    )
