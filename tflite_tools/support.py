"""The support table: which operator and type combinations LiteRT computes, and how.

The table is data, `support.json`; this module matches operations against it. A row says what the
built-in kernels and XNNPACK do with one combination. A refused row is a combination that LiteRT
computes wrongly, not at all, or that this package has no exact arithmetic for. Conditions narrow
a row further: breaking one is either refused or makes the operation fall back from XNNPACK to the
built-in kernels, with the same graph but another rounding.
"""

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tflite_tools.operations import LINEAR_KINDS, Operation
from tflite_tools.tensors import Quantization

if TYPE_CHECKING:
    from tflite_tools.graph import IntegerGraph

_REFUSE = "refuse"
_FALL_BACK = "fall back"


class UnsupportedCombinationError(ValueError):
    """An operation that LiteRT computes wrongly, not at all, or not as the caller demands."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What the support table says of one accepted operation.

    Attributes:
      delegated: True if XNNPACK takes the operation.
      reason: Why it does not; empty if it does.
    """

    delegated: bool
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class _Condition:
    rule: str
    effect: str
    reason: str
    nearest: str
    value: Any = None


@dataclasses.dataclass(frozen=True)
class _Row:
    operator: str
    activation: str
    weights: str | None
    output: str
    builtin: str
    xnnpack: str
    refused: bool
    reason: str
    nearest: str
    conditions: tuple[_Condition, ...]

    @property
    def key(self) -> tuple[str, str, str | None, str]:
        return self.operator, self.activation, self.weights, self.output


def check_operation(
    graph: "IntegerGraph", operation: Operation, *, require_delegation: bool = False
) -> Decision:
    """Checks one operation against the support table.

    Args:
      graph: The graph the operation belongs to.
      operation: The operation; its tensors are in the graph.
      require_delegation: Refuse an operation that would fall back from XNNPACK, too.

    Returns:
      Whether XNNPACK takes the operation.

    Raises:
      UnsupportedCombinationError: The combination is refused; the sentence names the layer, the
        combination and the nearest one that works.
    """
    combination = _combination(graph, operation)
    row = _rows().get(combination)
    if row is None:
        known = "; ".join(
            _describe(*other.key)
            for other in _rows().values()
            if other.operator == operation.kind and not other.refused
        )
        raise _refusal(operation, combination, "LiteRT has no such kernel", known)
    if row.refused:
        raise _refusal(operation, combination, row.reason, row.nearest)
    decision = Decision(row.xnnpack == "delegated", row.reason)
    for condition in row.conditions:
        if _RULES[condition.rule](graph, operation, condition.value):
            continue
        if condition.effect == _REFUSE:
            raise _refusal(operation, combination, condition.reason, condition.nearest)
        if decision.delegated:
            decision = Decision(False, condition.reason)
            row = dataclasses.replace(row, nearest=condition.nearest)
    if require_delegation and not decision.delegated:
        raise _refusal(
            operation, combination, f"XNNPACK does not take it ({decision.reason})", row.nearest
        )
    return decision


def table_rows() -> list[dict[str, str]]:
    """The support table for printing, one dictionary of texts per row.

    Returns:
      Rows with the keys "operator", "activation", "weights", "output", "built-in", "XNNPACK",
      "exported" ("yes" or "refused") and "notes" (reason, nearest combination, conditions).
    """
    rows = []
    for row in _rows().values():
        notes = [row.reason] if row.reason else []
        if row.nearest:
            notes.append(f"use {row.nearest}")
        notes += [f"{rule.effect} unless {rule.reason}" for rule in row.conditions]
        rows.append(
            {
                "operator": row.operator,
                "activation": row.activation,
                "weights": row.weights or "-",
                "output": row.output,
                "built-in": row.builtin,
                "XNNPACK": row.xnnpack,
                "exported": "refused" if row.refused else "yes",
                "notes": "; ".join(notes),
            }
        )
    return rows


@functools.cache
def _rows() -> dict[tuple, _Row]:
    text = importlib.resources.files("tflite_tools").joinpath("support.json").read_text("utf-8")
    table = json.loads(text)
    rows = {}
    for entry in table["rows"]:
        conditions = tuple(
            _Condition(**{**table["conditions"][item["name"]], **item.get("set", {})})
            for item in entry.get("conditions", ())
        )
        row = _Row(
            operator=entry["operator"],
            activation=entry["activation"],
            weights=entry.get("weights"),
            output=entry["output"],
            builtin=entry["builtin"],
            xnnpack=entry["xnnpack"],
            refused=entry.get("refused", False),
            reason=entry.get("reason", ""),
            nearest=entry.get("nearest", ""),
            conditions=conditions,
        )
        rows[row.key] = row
    return rows
