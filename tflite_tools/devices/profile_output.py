"""Reading the operator profile in the output of a `benchmark_model`.

Both flavours print the table of tsl/util/stats_calculator.cc, "Run Order", once for the graph and,
in classic, once more for the inside of the delegates. Columns: node type, start, first, average
milliseconds, percent, cumulated percent, memory, times called, name.
"""

import re
from typing import NamedTuple

from tflite_tools.devices.errors import DeviceOutputError

_SECTION = re.compile(r"=+ Run Order =+")
_OTHER_SECTION = re.compile(r"=+ [A-Z][A-Za-z ]+ =+|^Number of nodes", re.MULTILINE)
_ROW = re.compile(
    r"^\s*(?:INFO: )?\s*(?P<type>\S.*?)\s+(?P<start>[\d.]+)\s+(?P<first>[\d.]+)\s+"
    r"(?P<average>[\d.]+)\s+(?P<percent>[\d.]+)%\s+(?P<cumulated>[\d.]+)%\s+(?P<memory>[\d.]+)\s+"
    r"(?P<calls>\d+)\s+(?P<name>\S.*)$",
    re.MULTILINE,
)
_OF_RUNS = "Regular Benchmark Runs"
_DELEGATE_PREFIX = "Delegate/"
_DELEGATE_NODE = re.compile(r"Delegate(?:\b|V2)|TfLite\w*Delegate")
_MICROSECONDS = 1e3  # per millisecond


class ProfileRow(NamedTuple):
    """One operator that ran.

    Attributes:
      name: As the runtime or the delegate calls it.
      delegated: Whether it ran inside a delegate.
      microseconds: Mean of its time.
    """

    name: str
    delegated: bool
    microseconds: float


def parse_profile(log: str) -> list[ProfileRow]:
    """The operators that ran, in order; nodes that stand for a whole delegate are left out.

    Raises:
      DeviceOutputError: There is no table.
    """
    measured = log.rpartition(_OF_RUNS)[2]  # classic profiles the initialization as well
    tables = [_rows(section) for section in _SECTION.split(measured)[1:]]
    tables = [table for table in tables if table]
    if not tables:
        raise DeviceOutputError(
            "The output of benchmark_model has no operator profile. Take a build with profiling "
            "(all that Google publishes have it), and see the log."
        )
    graph, *inside = tables
    position = next((i for i, row in enumerate(graph) if _is_delegate_node(row)), len(graph))
    delegated = [ProfileRow(row.name, True, row.microseconds) for table in inside for row in table]
    rows = graph[:position] + delegated + graph[position:]
    return [row for row in rows if not _is_delegate_node(row)]


def _rows(section: str) -> list[ProfileRow]:
    text = section[: end.start()] if (end := _OTHER_SECTION.search(section)) else section
    found = []
    for match in _ROW.finditer(text):
        kind = match["type"]
        delegated = kind.startswith(_DELEGATE_PREFIX)
        average = float(match["average"]) * _MICROSECONDS
        found.append(ProfileRow(kind.removeprefix(_DELEGATE_PREFIX), delegated, average))
    return found


def _is_delegate_node(row: ProfileRow) -> bool:
    return not row.delegated and bool(_DELEGATE_NODE.search(row.name))
