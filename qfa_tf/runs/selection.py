"""Which architecture a program is about: the chosen one, one of the front, or a file."""

import dataclasses
import os
from typing import TypedDict

import rich.console

from qfa_tf.runs.architecture_files import read_architecture
from qfa_tf.runs.building import trained_architecture
from qfa_tf.runs.commands import command
from qfa_tf.runs.errors import RunError, WorkdirError
from qfa_tf.runs.messages import say
from qfa_tf.runs.searching.folder import SearchFolder, find_search
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import Candidate, SearchResult
from qfa_tf.space import Architecture, SearchSpace


class SubnetArguments(TypedDict, total=False):
    """The keywords by which functions and programs are told which subnet of a workdir is meant.

    Attributes:
      index: Position on the front of a search, cheapest first, from 0; without it, what the search
        chose.
      architecture_file: JSON as written by `Architecture.to_json()`, instead of a search.
      search: Name of the search; None for the only or the newest one.
    """

    index: int | None
    architecture_file: str | os.PathLike | None
    search: str | None


@dataclasses.dataclass(frozen=True)
class Member:
    """A candidate of a search.

    Attributes:
      search: Where that search stands.
      result: Of that search.
      position: In its candidates.
    """

    search: SearchFolder
    result: SearchResult
    position: int

    @property
    def candidate(self) -> Candidate:
        """What the search measured."""
        return self.result.candidates[self.position]


@dataclasses.dataclass(frozen=True)
class Selection:
    """An architecture and where it comes from.

    Attributes:
      architecture: Of the space of the workdir.
      source: For people, for example "chosen", "front 3" or "trained alone".
      member: Of which search; None when it is not from one.
    """

    architecture: Architecture
    source: str
    member: Member | None = None


def select(
    workdir: Workdir,
    space: SearchSpace,
    *,
    index: int | None = None,
    architecture_file: str | os.PathLike | None = None,
    search: str | None = None,
) -> Selection:
    """Finds an architecture; without arguments the one that the only or newest search chose.

    In a workdir where one subnet was trained alone there is no other one.

    Args:
      workdir: Of a run.
      space: Its search space.
      index: See `SubnetArguments`, as of the others.
      architecture_file: Of a subnet.
      search: Name.

    Raises:
      RunError: Two were given, the index is not on the front, nothing was chosen, a file is
        missing, or the subnet is not the one that was trained alone.
      WorkdirError: There is no such search.
      ResultError: `pareto.json` is damaged.
      ArchitectureError: The file is damaged or of another space.
    """
    if architecture_file is not None and (index is not None or search is not None):
        raise RunError("Give --architecture, or --search and --index, not both.")
    given = None
    if architecture_file is not None:
        given = space.decode(space.encode(read_architecture(architecture_file)))
    alone = trained_architecture(workdir.config())
    if alone is not None:
        return _only(workdir, alone, index, search, given)
    if given is not None:
        return Selection(given, str(architecture_file))
    folder = find_search(workdir, search)
    result = folder.result()
    if result.space != space:
        raise WorkdirError(
            f"{folder.pareto_json} is of the space {result.space.name!r} "
            f"({result.space.fingerprint}), the workdir of {space.name!r} ({space.fingerprint}). "
            f"Search again: {command('search', workdir=workdir)}"
        )
    if index is None:
        if result.chosen_index is None:
            raise RunError(
                f"The search in {folder} found no subnet within its constraints. Search again, or "
                "choose one of its front with --index."
            )
        source, position = "chosen", result.chosen_index
    elif not 0 <= index < len(result.front):
        raise RunError(
            f"The front of {folder.pareto_json} has the indices 0 (cheapest) to "
            f"{len(result.front) - 1}. Received: {index}."
        )
    else:
        source, position = f"front {index}", result.front_indices[index]
    return selected(Member(folder, result, position), source)


def selected(member: Member, source: str) -> Selection:
    """The selection of a member of a search."""
    return Selection(member.result.architecture(member.candidate), source, member)


def say_search(selection: Selection, console: rich.console.Console) -> None:
    """Tells which search a subnet comes from, where it comes from one."""
    if selection.member is None:
        return
    result = selection.member.result
    terms = ", ".join(map(str, result.constraints)) or "no constraint"
    say(
        console,
        f"Search {selection.member.search.name!r}: {terms}, front of {len(result.front)} against "
        f"{result.objective}, weights {result.checkpoint_key}.",
    )


def _only(
    workdir: Workdir,
    alone: Architecture,
    index: int | None,
    search: str | None,
    given: Architecture | None,
) -> Selection:
    """The subnet that was trained alone, unless another one is asked for."""
    for flag, value in (("index", index), ("search", search)):
        if value is not None:
            raise RunError(
                f"{workdir} holds one subnet that was trained alone, and no front; leave --{flag} "
                f"out. Received: {value}."
            )
    if given not in (None, alone):
        raise RunError(
            f"{workdir} holds one subnet that was trained alone, and --architecture is another "
            "one, whose weights were not trained. Leave --architecture out, or train that one in a "
            "workdir of its own."
        )
    return Selection(alone, "trained alone")
