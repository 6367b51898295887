"""The searches of a workdir: a folder for each, its request, and finding one of them."""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from qfa_tf.runs.commands import command
from qfa_tf.runs.errors import RunError, WorkdirError
from qfa_tf.runs.locks import exclusive
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import SearchResult, load_pareto_json
from quantize_configs.errors import QFAError
from quantize_configs.files import write_text

DEFAULT_NAME = "default"
OF_THE_WORKDIR = "."
"""Name of the search of an earlier release, whose files stand in the workdir itself."""

PREDICTOR_FILE = "predictor.npz"

SCHEMA_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclasses.dataclass(frozen=True)
class SearchFolder:
    """Names of the files of a search.

    Attributes:
      name: Of the search.
      path: The folder.
    """

    name: str
    path: pathlib.Path

    @property
    def request_file(self) -> pathlib.Path:
        """What was asked for, written before anything is evaluated."""
        return self.path / "search.json"

    @property
    def pareto_json(self) -> pathlib.Path:
        """What was found."""
        return self.path / "pareto.json"

    @property
    def pareto_png(self) -> pathlib.Path:
        """Its picture."""
        return self.path / "pareto.png"

    @property
    def report(self) -> pathlib.Path:
        """Its page."""
        return self.path / "report.html"

    @property
    def details_file(self) -> pathlib.Path:
        """What the page shows beside the result, to write it again."""
        return self.path / "report.json"

    @property
    def architecture_file(self) -> pathlib.Path:
        """The subnet that was chosen, for `--architecture`."""
        return self.path / "architecture.json"

    @property
    def predictor(self) -> pathlib.Path:
        """The last predictor that was fitted."""
        return self.path / PREDICTOR_FILE

    def __str__(self) -> str:
        return str(self.path)

    def lock(self) -> contextlib.AbstractContextManager[bool]:
        """Holds the lock of the search; gives False where the file system knows no locks.

        Raises:
          WorkdirError: Another process holds it, or it cannot be written.
        """
        return exclusive(
            self.path / "search.lock",
            f"{self.path} is being searched",
            "wait for that search, stop it, or give this one another --name",
        )

    def request(self) -> dict[str, Any] | None:
        """What `write_request` wrote; None where there is nothing.

        Raises:
          WorkdirError: The file is damaged, or of another schema version.
        """
        if not self.request_file.is_file():
            return None
        try:
            content = json.loads(self.request_file.read_text(encoding="utf-8"))
            version, request = content["schema_version"], content["request"]
        except (ValueError, KeyError, TypeError) as error:
            raise WorkdirError(
                f"{self.request_file} is damaged ({error}). It was left as it is; remove it, or "
                "search under another --name."
            ) from error
        if version != SCHEMA_VERSION or not isinstance(request, dict):
            raise WorkdirError(
                f"{self.request_file} has schema version {version!r}; this release reads version "
                f"{SCHEMA_VERSION}. It was left as it is; search under another --name."
            )
        return request

    def write_request(self, request: Mapping[str, Any]) -> None:
        """Writes what is asked for.

        Raises:
          FileWriteError: The file cannot be written.
        """
        content = {"schema_version": SCHEMA_VERSION, "request": dict(request)}
        write_text(self.request_file, json.dumps(content, indent=1) + "\n")

    def result(self) -> SearchResult:
        """What was found.

        Raises:
          ResultError: The file is damaged.
          FileNotFoundError: The search has not ended yet.
        """
        return load_pareto_json(self.pareto_json)


def search_folder(workdir: Workdir, name: str) -> SearchFolder:
    """The folder of a search, which need not exist.

    Raises:
      RunError: The name is none for a folder.
    """
    if name == OF_THE_WORKDIR:
        return SearchFolder(name, workdir.path)
    if not _NAME.fullmatch(name):
        raise RunError(
            "The name of a search consists of letters, digits, '-', '_' and '.', and starts with a "
            f"letter or digit. Received: {name!r}."
        )
    return SearchFolder(name, workdir.searches / name)


def finished_searches(workdir: Workdir) -> list[SearchFolder]:
    """The searches that ended, the oldest first."""
    found = [SearchFolder(OF_THE_WORKDIR, workdir.path)]
    found += [SearchFolder(path.parent.name, path.parent) for path in _results(workdir)]
    found = [folder for folder in found if folder.pareto_json.is_file()]
    return sorted(found, key=lambda folder: (os.stat(folder.pareto_json).st_mtime_ns, folder.name))


def find_search(workdir: Workdir, name: str | None = None) -> SearchFolder:
    """A finished search by its name; the only or the newest one without.

    Raises:
      WorkdirError: There is none, or none of that name; the message names those there are.
    """
    found = {folder.name: folder for folder in finished_searches(workdir)}
    if not found:
        raise WorkdirError(
            f"{workdir} has no search yet. Search first: {command('search', workdir=workdir)}"
        )
    if name is None:
        return list(found.values())[-1]
    if name not in found:
        raise WorkdirError(
            f"{workdir} has no finished search {name!r}; it has {', '.join(sorted(found))}. Name "
            f"one of them, or search: {command('search', workdir=workdir, name=name)}"
        )
    return found[name]


@contextlib.contextmanager
def claimed_search(
    workdir: Workdir, request: Mapping[str, Any], name: str | None
) -> Iterator[SearchFolder]:
    """Holds the folder for what is asked for: that of an equal search, or a new one.

    A new search that is refused meanwhile, such as for other images, claims no name.

    Args:
      workdir: Of the run.
      request: JSON types; what distinguishes searches.
      name: Of the search; None for "default", or for the next free "default-2" and so on.

    Raises:
      RunError: The name is none for a folder.
      WorkdirError: A search of that name asked for something else, its file is damaged, or
        another process is at it.
      FileWriteError: The request cannot be written.
    """
    request = json.loads(json.dumps(request))
    if name == OF_THE_WORKDIR:
        raise RunError("Give the new search a --name of letters and digits.")
    folders = _unnamed(workdir) if name is None else [search_folder(workdir, name)]
    folder = next(one for one in folders if name is not None or one.request() in (None, request))
    if folder.request() is not None:
        _check_request(folder, request)
    with folder.lock():
        is_new = folder.request() is None
        if is_new:
            folder.write_request(request)
        _check_request(folder, request)  # it may have been written before the lock was ours
        try:
            yield folder
        except QFAError:
            if is_new and not folder.pareto_json.exists():
                folder.request_file.unlink(missing_ok=True)  # the name is free again
            raise


def _unnamed(workdir: Workdir) -> Iterator[SearchFolder]:
    yield search_folder(workdir, DEFAULT_NAME)
    for number in itertools.count(2):
        yield search_folder(workdir, f"{DEFAULT_NAME}-{number}")


def _check_request(folder: SearchFolder, request: Mapping[str, Any]) -> None:
    there = folder.request() or {}
    if there == request:
        return
    key = next(key for key in {**request, **there} if there.get(key) != request.get(key))
    raise WorkdirError(
        f"{folder} is another search: {key} is {there.get(key)!r} there and {request.get(key)!r} "
        "here. It was left as it is; choose another --name, or remove that folder."
    )


def _results(workdir: Workdir) -> list[pathlib.Path]:
    return sorted(workdir.searches.glob("*/pareto.json"))
