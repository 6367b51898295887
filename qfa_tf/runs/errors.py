"""What can go wrong in a run; every message is meant for the user, without a traceback."""

from qfa_tf.training.errors import DivergedError
from quantize_configs.errors import DamagedFileError, InvalidInputError, QFAError, UnavailableError

__all__ = [
    "CheckpointError",
    "CheckpointWriteError",
    "ConfigError",
    "DivergedError",
    "RunError",
    "StoppedError",
    "WorkdirError",
    "WorkerError",
]


class RunError(QFAError, ValueError):
    """A run cannot do what was asked; nothing on disk was changed."""


class ConfigError(RunError, InvalidInputError):
    """A config misses something, or holds a value that is not allowed."""


class WorkdirError(RunError, DamagedFileError):
    """A workdir belongs to another config, misses a file, or holds a damaged one."""


class CheckpointError(RunError, DamagedFileError):
    """There is no checkpoint, or it is damaged."""


class WorkerError(RunError, UnavailableError):
    """The processes of a training on several machines do not work together."""


class StoppedError(RunError):
    """A signal stopped a training; a checkpoint was saved and the same command resumes it.

    Attributes:
      exit_status: That of a program: 128 and the number of the signal, as in a shell.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_status = 128 + signal_number


class CheckpointWriteError(UnavailableError, OSError):
    """A checkpoint could not be written; the earlier ones are still there."""
