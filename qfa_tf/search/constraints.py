"""Budgets such as `mflops_8bit<=1.5`: reading, measuring violations, refusing hopeless ones."""

import dataclasses
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.search.subspace import Subspace
from quantize_configs.errors import InvalidInputError

CONSTRAINT_METRICS = (*METRICS, "tflite_bytes", "latency_ms", "accuracy")
"""Latencies may name their table: latency_ms@TABLE."""
_OPERATORS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
_TERM = re.compile(r"\s*(\w+(?:@[\w.-]+)?)\s*(<=|>=|<|>)\s*([^\s<>=]+)\s*")
_EXAMPLES = "'mflops_8bit<=1.5' or 'accuracy>=0.9'"


class ConstraintError(InvalidInputError):
    """A constraint cannot be read."""


class InfeasibleBudgetError(InvalidInputError):
    """No architecture of the space meets the constraints."""


@dataclasses.dataclass(frozen=True)
class Constraint:
    """One bound on a cost or on the accuracy.

    Attributes:
      metric: One of CONSTRAINT_METRICS, or `latency_ms@` and the name of a latency table.
      relation: "<=", "<", ">=" or ">".
      bound: Finite; for the accuracy a fraction from 0 to 1.

    Raises:
      ConstraintError: A value is not allowed.
    """

    metric: str
    relation: str
    bound: float

    def __post_init__(self):
        base, at, table = self.metric.partition("@")
        if base not in CONSTRAINT_METRICS or (at and (base != "latency_ms" or not table)):
            raise ConstraintError(
                f"A constraint is on one of {list(CONSTRAINT_METRICS)}, latencies also as "
                f"latency_ms@TABLE. Received: {self.metric!r}"
            )
        if self.relation not in _OPERATORS:
            raise ConstraintError(
                f"The relation of a constraint is one of {list(_OPERATORS)}. "
                f"Received: {self.relation!r}"
            )
        if not math.isfinite(self.bound):
            raise ConstraintError(f"A bound must be finite. Received: {self.bound!r} in {self}")
        if self.metric == "accuracy" and not 0 <= self.bound <= 1:
            raise ConstraintError(
                f"The accuracy is a fraction from 0 to 1: write 0.9 for 90 %. Received: {self}"
            )

    def __str__(self) -> str:
        return f"{self.metric}{self.relation}{format_number(self.bound)}"

    def satisfied(self, values: np.ndarray | float) -> np.ndarray:
        """Returns bool[n]: which of `values` float[n] meet the constraint; NaN does not."""
        return _OPERATORS[self.relation](np.asarray(values, np.float64), self.bound)

    def violation(self, values: np.ndarray) -> np.ndarray:
        """Returns float64[n]: 0 where satisfied, else the positive distance relative to the bound.

        A value that sits on a strict bound has the smallest positive violation, NaN an infinite
        one.
        """
        values = np.asarray(values, np.float64)
        excess = np.abs(values - self.bound) / (abs(self.bound) or 1.0)
        excess = np.where(np.isnan(values), np.inf, np.maximum(excess, np.finfo(np.float64).eps))
        return np.where(self.satisfied(values), 0.0, excess)


def parse_constraint(text: str) -> Constraint:
    """Reads one constraint: metric, relation, number; spaces are allowed between them.

    Raises:
      ConstraintError: `text` is something else.
    """
    match = _TERM.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ConstraintError(
            f"A constraint is a metric out of {list(CONSTRAINT_METRICS)}, one of "
            f"{list(_OPERATORS)} and a number, for example {_EXAMPLES}. Received: {text!r}"
        )
    metric, relation, number = match.groups()
    try:
        bound = float(number)
    except ValueError:
        raise ConstraintError(
            f"The bound of a constraint must be a number, as in {_EXAMPLES}. "
            f"Received: {number!r} in {text!r}"
        ) from None
    return Constraint(metric, relation, bound)


def parse_constraints(constraints: str | Iterable[str | Constraint]) -> tuple[Constraint, ...]:
    """Reads one constraint or several; those already read pass through.

    Raises:
      ConstraintError: One of them cannot be read.
    """
    if isinstance(constraints, str):
        constraints = [constraints]
    return tuple(
        constraint if isinstance(constraint, Constraint) else parse_constraint(constraint)
        for constraint in constraints
    )


def total_violation(
    constraints: Sequence[Constraint], values: Mapping[str, np.ndarray], n: int
) -> np.ndarray:
    """Returns float64[n]: the sum of the violations; 0 exactly where all constraints are met.

    Args:
      constraints: Those whose metric is missing in `values` are passed over.
      values: Maps metrics to float[n].
      n: Length of the result.
    """
    total = np.zeros(n)
    for constraint in constraints:
        if constraint.metric in values:
            total += constraint.violation(values[constraint.metric])
    return total


def resolve_constraints(
    constraints: Sequence[Constraint], cost: CostModel
) -> tuple[Constraint, ...]:
    """Returns the constraints with the full names of their costs.

    Raises:
      CostUnavailableError: The cost model does not know a cost.
    """
    return tuple(
        term
        if term.metric == "accuracy"
        else dataclasses.replace(term, metric=cost.resolve(term.metric))
        for term in constraints
    )


def check_feasible(
    constraints: Sequence[Constraint], cost: CostModel, subspace: Subspace | None = None
) -> None:
    """Refuses bounds on costs that no architecture meets.

    Each term is held against the exact extremes of its cost. Terms that exclude each other are
    left for the search to find.

    Args:
      constraints: Terms on the accuracy are passed over.
      cost: Cost model of the space.
      subspace: What is searched; the whole space by default.

    Raises:
      InfeasibleBudgetError: Names every term that cannot be met and the value that can.
      CostUnavailableError, LatencyTableError: A cost cannot be computed.
    """
    subspace = Subspace(cost.space) if subspace is None else subspace
    broken = []
    for constraint in constraints:
        if constraint.metric == "accuracy":
            continue
        end, word = (0, "minimum") if constraint.relation in ("<", "<=") else (1, "maximum")
        attainable = subspace.bounds(cost, constraint.metric)[end]
        if not constraint.satisfied(attainable):
            broken.append(f"{constraint} (attainable {word} {format_number(attainable)})")
    if broken:
        raise InfeasibleBudgetError(
            f"No architecture of space {cost.space.name!r} among those searched meets "
            f"{' and '.join(broken)}: change these bounds, or search other bit-widths."
        )


def format_number(value: float) -> str:
    """Returns `value` with all its digits and without a superfluous `.0`."""
    return repr(float(value)).removesuffix(".0")
