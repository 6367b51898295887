"""Whether a training fits into the memory of its computer, told before its first step."""

import contextlib
import pathlib

import rich.console

from qfa_tf.runs.messages import say
from qfa_tf.space import SearchSpace

TENSORS_PER_NODE = 6
"""Tensors as large as its output that a step keeps for the gradient of a node: results of the
convolution, the normalization, the activation and the quantizer, and what they keep. The largest
space measured here (benchmarks/results/train_step.csv) has 8 with everything else."""
_BYTES = 4
_MEMINFO = pathlib.Path("/proc/meminfo")
_CGROUP = pathlib.Path("/sys/fs/cgroup")


def needed_memory(space: SearchSpace, batch_size: int, variable_bytes: int) -> int:
    """Bytes that a step of the largest subnet takes at least, beside TensorFlow itself.

    Args:
      space: Of the supernet.
      batch_size: Images that this process holds at once.
      variable_bytes: Of weights and optimizer.
    """
    largest = space.subnet(space.largest())
    elements = sum(node.width * node.size**2 for node in largest.nodes)
    return TENSORS_PER_NODE * _BYTES * elements * batch_size + 2 * variable_bytes


def free_memory() -> int | None:
    """Bytes that this process can still have, by machine and control group; None if unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = _MEMINFO.read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(1024 * int(available.split()[1]))
    with contextlib.suppress(OSError, ValueError):
        limit = int((_CGROUP / "memory.max").read_text())  # "max" without a limit
        found.append(limit - int((_CGROUP / "memory.current").read_text()))
    return max(0, min(found)) if found else None


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
