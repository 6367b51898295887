"""Which architecture a program is about: the chosen one, one of the front, or a file."""

import dataclasses
import os

from qfa_tf.runs.architecture_files import read_architecture
from qfa_tf.runs.building import trained_architecture
from qfa_tf.runs.errors import RunError, WorkdirError
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import load_pareto_json
from qfa_tf.space import Architecture, SearchSpace


@dataclasses.dataclass(frozen=True)
class Selection:
    """An architecture and where it comes from.

    Attributes:
      architecture: Of the space of the workdir.
      source: For people, for example "chosen", "front 3" or "trained alone".
    """

    architecture: Architecture
    source: str


def select(
    workdir: Workdir,
    space: SearchSpace,
    *,
    index: int | None = None,
    architecture_file: str | os.PathLike | None = None,
) -> Selection:
    """Finds an architecture; without arguments the one that the search chose.

    In a workdir where one subnet was trained alone there is no other one.

    Args:
      workdir: Of a run.
      space: Its search space.
      index: Position on the front, cheapest first, from 0.
      architecture_file: JSON as written by `Architecture.to_json()`.

    Raises:
      RunError: Both were given, the index is not on the front, nothing was chosen, a file is
        missing, or the subnet is not the one that was trained alone.
      ResultError: `pareto.json` is damaged.
      ArchitectureError: The file is damaged or of another space.
    """
    if architecture_file is not None and index is not None:
        raise RunError("Give --index or --architecture, not both.")
    given = None
    if architecture_file is not None:
        given = space.decode(space.encode(read_architecture(architecture_file)))
    alone = trained_architecture(workdir.config())
    if alone is not None:
        return _only(workdir, alone, index, given)
    if given is not None:
        return Selection(given, str(architecture_file))
    if not workdir.pareto_json.is_file():
        raise WorkdirError(
            f"{workdir} has no {workdir.pareto_json.name} yet. Search first: "
            f"python apps/search.py --workdir={workdir}"
        )
    result = load_pareto_json(workdir.pareto_json)
    if result.space != space:
        raise WorkdirError(
            f"{workdir.pareto_json} is of the space {result.space.name!r} "
            f"({result.space.fingerprint}), the workdir of {space.name!r} ({space.fingerprint}). "
            f"Search again: python apps/search.py --workdir={workdir}"
        )
    if index is None:
        if result.chosen is None:
            raise RunError(
                f"The search in {workdir} found no subnet within its constraints. Search again, or "
                "choose one of its front with --index."
            )
        return Selection(result.architecture(result.chosen), "chosen")
    if not 0 <= index < len(result.front):
        raise RunError(
            f"The front of {workdir.pareto_json} has the indices 0 (cheapest) to "
            f"{len(result.front) - 1}. Received: {index}."
        )
    return Selection(result.architecture(result.front[index]), f"front {index}")


def _only(workdir: Workdir, alone: Architecture, index: int | None, given) -> Selection:
    """The subnet that was trained alone, unless another one is asked for."""
    if index is not None:
        raise RunError(
            f"{workdir} holds one subnet that was trained alone, and no front; leave --index out. "
            f"Received: {index}."
        )
    if given not in (None, alone):
        raise RunError(
            f"{workdir} holds one subnet that was trained alone, and --architecture is another "
            "one, whose weights were not trained. Leave --architecture out, or train that one in a "
            "workdir of its own."
        )
    return Selection(alone, "trained alone")
