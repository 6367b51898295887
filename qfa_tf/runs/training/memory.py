"""Whether a training fits into the memory of its computer, told before its first step."""

import rich.console

from qfa_tf.runs.messages import say
from qfa_tf.training.memory import free_memory


def warn_of_memory(needed: int, batch_size: int, console: rich.console.Console) -> None:
    """Says when a training takes more memory than is free: the system may end it at any moment."""
    free = free_memory()
    if free is not None and needed > free:
        say(
            console,
            f"Warning: a step of {batch_size} images takes about {needed / 1e9:.1f} GB of memory, "
            f"and {free / 1e9:.1f} GB are free, so that the system may end this training. Stop "
            "other programs, or lower --config.training.batch_size.",
            style="bold red",
        )
