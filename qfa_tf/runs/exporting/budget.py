"""The budget of a search, measured on the file: bytes when it is written, latency once it runs."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qfa_tf.cost import LatencyTable, LatencyTableError
from qfa_tf.cost.device_label import device_label
from qfa_tf.runs.errors import RunError
from qfa_tf.runs.exporting.terms import Term, broken_terms
from qfa_tf.runs.selection import Member, Selection, selected
from qfa_tf.search import parse_constraint

FILE, ARCHITECTURE = "file", "architecture"
"""Sources of a `Term`; latencies have the name of their benchmark."""
ACCURACY, TFLITE_BYTES, LATENCY = "accuracy", "tflite_bytes", "latency_ms@"


def terms_of_file(member: Member, file_bytes: int) -> tuple[Term, ...]:
    """The constraints of a search for the file of one of its members.

    Accuracies are left out: the search measured them, and test images must not choose. So are
    bounds from below: they keep a search near its budget, and a smaller file breaks none.
    """
    terms, candidate = [], member.candidate
    for constraint in member.result.constraints:
        if constraint.metric == ACCURACY or constraint.relation.startswith(">"):
            continue
        term = Term(str(constraint), candidate.costs[constraint.metric])
        if constraint.metric == TFLITE_BYTES:
            term = dataclasses.replace(term, measured=float(file_bytes), source=FILE)
        elif not constraint.metric.startswith(LATENCY):
            term = dataclasses.replace(term, measured=term.predicted, source=ARCHITECTURE)
        terms.append(term)
    return tuple(terms)


def with_latency(
    terms: Sequence[Term], key: str, report: Mapping[str, Any], tables: Mapping[str, LatencyTable]
) -> tuple[Term, ...]:
    """The terms with a latency that was measured, where it is that of the table's device.

    Args:
      terms: Of a model.
      key: Of the benchmark, such as "host-1".
      report: Of the benchmark, as a dict.
      tables: Latency tables by name.
    """
    label = device_label(
        report["device_name"], report["soc"], report["abi"], report["delegate"],
        report["num_threads"],
    )  # fmt: skip
    changed = []
    for term in terms:
        metric = parse_constraint(term.constraint).metric
        table = tables.get(metric.removeprefix(LATENCY)) if metric.startswith(LATENCY) else None
        if table is not None and table.device == label:
            term = dataclasses.replace(term, measured=report["median_ms"], source=key)
        changed.append(term)
    return tuple(changed)


def read_tables(paths: Sequence[str]) -> dict[str, LatencyTable]:
    """Those of the latency tables that are still there, by name."""
    tables = {}
    for path in paths:
        with contextlib.suppress(LatencyTableError, OSError):
            table = LatencyTable.load(path)
            tables[table.name] = table
    return tables


def members_in_turn(member: Member, source: str) -> list[Selection]:
    """What to try: the member, then the others of its front within the constraints.

    In the order in which the search would have chosen them.

    Args:
      member: The first to try.
      source: What it is, such as "chosen".
    """
    result = member.result
    others = [
        (number, position)
        for number, position in enumerate(result.front_indices)
        if position != member.position and result.meets(result.candidates[position])
    ]
    others.sort(key=lambda pair: result.preference(pair[1]))
    return [
        selected(member, source),
        *(
            selected(dataclasses.replace(member, position=position), f"front {number}")
            for number, position in others
        ),
    ]


def none_holds(search: str, tried: Sequence[Sequence[Term]]) -> RunError:
    """That no member of the front of a search keeps the budget as a file."""
    nearest = min((term for terms in tried for term in broken_terms(terms)), key=_violation)
    return RunError(
        f"No member of the front of search {search!r} keeps its budget as a file; the nearest: "
        f"{nearest}. Search with a tighter bound, or take one of the front all the same with "
        "--index."
    )


def _violation(term: Term) -> float:
    measured = np.array([np.nan if term.measured is None else term.measured])
    return float(parse_constraint(term.constraint).violation(measured)[0])
