"""What can go wrong in a run; every message is meant for the user, without a traceback."""


class RunError(ValueError):
    """A run cannot do what was asked; nothing on disk was changed."""


class ConfigError(RunError):
    """A config misses something, or holds a value that is not allowed."""


class WorkdirError(RunError):
    """A workdir belongs to another config, misses a file, or holds a damaged one."""


class CheckpointError(RunError):
    """There is no checkpoint, or it is damaged."""


class DivergedError(RunError):
    """The loss of a training is no longer finite."""


class CheckpointWriteError(OSError):
    """A checkpoint could not be written; the earlier ones are still there."""
