"""Which architecture a program is about: the chosen one, one of the front, or a file."""

import dataclasses
import os
import pathlib

from qfa_tf.runs.errors import RunError, WorkdirError
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import load_pareto_json
from qfa_tf.space import Architecture, SearchSpace


@dataclasses.dataclass(frozen=True)
class Selection:
    """An architecture and where it comes from.

    Attributes:
      architecture: Of the space of the workdir.
      source: For people, for example "chosen" or "front 3".
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

    Args:
      workdir: Of a run.
      space: Its search space.
      index: Position on the front, cheapest first, from 0.
      architecture_file: JSON as written by `Architecture.to_json()`.

    Raises:
      RunError: Both were given, the index is not on the front, nothing was chosen or a file is
        missing.
      ResultError: `pareto.json` is damaged.
      ArchitectureError: The file is damaged or of another space.
    """
    if architecture_file is not None:
        if index is not None:
            raise RunError("Give --index or --architecture, not both.")
        path = pathlib.Path(architecture_file)
        if not path.is_file():
            raise RunError(f"There is no architecture file {path}.")
        architecture = Architecture.from_json(path.read_text(encoding="utf-8", errors="replace"))
        return Selection(space.decode(space.encode(architecture)), str(path))
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
