"""The support table: which operator and type combinations LiteRT computes, and how.

The table is data, `support.json`; this module matches operations against it. A row says what the
built-in kernels and XNNPACK do with one combination. A refused row is a combination that LiteRT
computes wrongly, not at all, or that this package has no exact arithmetic for. Conditions narrow
a row: breaking one is either refused or makes the operation fall back from XNNPACK to the
built-in kernels, which give the same network with another rounding.
"""

import dataclasses
import functools
import importlib.resources
import json
from typing import Any

from quantize_configs.errors import UnsupportedError
from tflite_tools.integer_graph.operations import GraphView, Operation
from tflite_tools.support.rules import RULES


class UnsupportedCombinationError(UnsupportedError):
    """An operation that LiteRT computes wrongly, not at all, or not as the caller demands."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What the support table says of an accepted operation.

    Attributes:
      delegated: True if XNNPACK takes the operation.
      reason: Why it does not; empty if it does.
    """

    delegated: bool
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Condition:
    """A requirement of a row beyond its types.

    Attributes:
      rule: Name in `support_rules.RULES`.
      effect: "refuse" or "fall back".
      requirement: What the operation needs, as a phrase.
      nearest: Nearest combination that meets it.
      value: Parameter of the rule.
    """

    rule: str
    effect: str
    requirement: str
    nearest: str
    value: Any = None


@dataclasses.dataclass(frozen=True)
class Row:
    """One combination of the support table.

    Attributes:
      operator: LiteRT operator.
      activation: Type of the first input.
      weights: Type of the weights; None for operators without.
      output: Type of the output.
      builtin: What the built-in kernels do.
      xnnpack: "delegated", "falls back", "never" or "-".
      refused: True if the exporter never writes it.
      reason: Why it is refused or falls back.
      nearest: Nearest combination that works, or that XNNPACK takes.
      conditions: Further requirements.
    """

    operator: str
    activation: str
    weights: str | None
    output: str
    builtin: str
    xnnpack: str
    refused: bool = False
    reason: str = ""
    nearest: str = ""
    conditions: tuple[Condition, ...] = ()

    @property
    def combination(self) -> tuple[str, str, str | None, str]:
        """Operator, activation type, weight type and output type."""
        return self.operator, self.activation, self.weights, self.output


def check_operation(
    graph: GraphView, operation: Operation, *, require_delegation: bool = False
) -> Decision:
    """Checks one operation against the support table.

    Args:
      graph: The graph the operation belongs to.
      operation: The operation; its tensors are in the graph.
      require_delegation: Also refuse an operation that would fall back from XNNPACK.

    Returns:
      Whether XNNPACK takes the operation.

    Raises:
      UnsupportedCombinationError: The combination is refused; the sentence names the layer, the
        combination and the nearest one that works.
    """
    combination = _combination(graph, operation)
    row = rows().get(combination)
    if row is None:
        known = [
            _phrase(other.combination)
            for other in rows().values()
            if other.operator == operation.kind and not other.refused
        ]
        raise _refusal(operation, combination, "there is no such kernel", " or ".join(known))
    if row.refused:
        raise _refusal(operation, combination, row.reason, row.nearest)
    decision, nearest = Decision(row.xnnpack == "delegated", row.reason), row.nearest
    for condition in row.conditions:
        if RULES[condition.rule](graph, operation, condition.value):
            continue
        reason = f"it needs {condition.requirement}"
        if condition.effect == "refuse":
            raise _refusal(operation, combination, reason, condition.nearest)
        decision, nearest = Decision(False, reason), condition.nearest
    if require_delegation and not decision.delegated:
        reason = f"XNNPACK does not take it ({decision.reason})"
        raise _refusal(operation, combination, reason, nearest)
    return decision


def table_rows() -> list[dict[str, str]]:
    """The support table for printing.

    Returns:
      One dictionary of texts per row with the keys "operator", "activation", "weights", "output",
      "built-in", "XNNPACK", "exported" ("yes" or "refused") and "notes".
    """
    return [_printed(row) for row in rows().values()]


@functools.cache
def rows() -> dict[tuple, Row]:
    """The rows of `support.json` by combination; do not modify."""
    text = (
        importlib.resources.files("tflite_tools.support")
        .joinpath("support.json")
        .read_text("utf-8")
    )
    table = json.loads(text)
    conditions = {name: Condition(**entry) for name, entry in table["conditions"].items()}
    parsed = {}
    for entry in table["rows"]:
        named = tuple(conditions[name] for name in entry.get("conditions", ()))
        row = Row(**{**entry, "conditions": named})
        if row.combination in parsed:
            raise ValueError(f"support.json lists {_phrase(row.combination)} twice.")
        parsed[row.combination] = row
    return parsed


def _combination(graph: GraphView, operation: Operation) -> tuple[str, str, str | None, str]:
    tensors = [graph.tensor(name) for name in operation.inputs]
    weights = str(tensors[1].dtype) if operation.is_linear else None
    output = graph.tensor(operation.outputs[0])
    return str(operation.kind), str(tensors[0].dtype), weights, str(output.dtype)


def _phrase(combination: tuple[str, str, str | None, str]) -> str:
    operator, activation, weights, output = combination
    described = f"{operator} from {activation} to {output}"
    return described if weights is None else f"{described} with {weights} weights"


def _refusal(operation, combination, reason, nearest) -> UnsupportedCombinationError:
    return UnsupportedCombinationError(
        f"Layer {operation.name!r}: {_phrase(combination)} is refused because {reason}; the "
        f"nearest that works is {nearest}."
    )


def _printed(row: Row) -> dict[str, str]:
    notes = [row.reason] if row.reason else []
    notes += [f"use {row.nearest}"] if row.nearest else []
    for condition in row.conditions:
        verb = "refused" if condition.effect == "refuse" else "falls back"
        notes.append(f"{verb} without {condition.requirement}")
    return {
        "operator": row.operator,
        "activation": row.activation,
        "weights": row.weights or "-",
        "output": row.output,
        "built-in": row.builtin,
        "XNNPACK": row.xnnpack,
        "exported": "refused" if row.refused else "yes",
        "notes": "; ".join(notes),
    }
