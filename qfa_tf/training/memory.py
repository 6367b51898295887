"""How much memory a step takes and how much is free, so how many subnets fit side by side."""

import contextlib
import os
import pathlib

from qfa_tf.space import SearchSpace

TENSORS_PER_NODE = 6
"""Tensors as large as its output that a step keeps for the gradient of a node: results of the
convolution, the normalization, the activation and the quantizer, and what they keep. The largest
space measured here (benchmarks/results/train_step.csv) has 8 with everything else."""
UNKNOWN_BATCH_SIZE = 128
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


def default_subnets_at_once(
    space: SearchSpace, batch_size: int | None, replicas: int, variable_bytes: int
) -> int:
    """How many subnets to compute side by side: one for two cores, as far as memory goes.

    One subnet uses most of two cores already (benchmarks/results/train_step.csv).

    Args:
      space: Of the supernet.
      batch_size: Images of a replica; None is taken for `UNKNOWN_BATCH_SIZE`.
      replicas: That share the cores.
      variable_bytes: Of the weights.
    """
    at_once = max(1, (os.cpu_count() or 1) // (2 * replicas))
    free = free_memory()
    if at_once > 1 and free is not None:
        needed = needed_memory(space, batch_size or UNKNOWN_BATCH_SIZE, variable_bytes)
        at_once = max(1, min(at_once, free // (replicas * needed)))
    return at_once
