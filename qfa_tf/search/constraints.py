"""Budgets such as `mflops_8bit<=1.5`: reading, measuring violations, refusing hopeless ones."""

import dataclasses
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from qfa_tf.cost import METRICS, CostModel

CONSTRAINT_METRICS = (*METRICS, "accuracy")
_OPERATORS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
_TERM = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*([^\s<>=]+)\s*")
_EXAMPLES = "'mflops_8bit<=1.5' or 'accuracy>=0.9'"


class ConstraintError(ValueError):
    """A constraint cannot be read."""


class InfeasibleBudgetError(ValueError):
    """No architecture of the space meets the constraints."""


@dataclasses.dataclass(frozen=True)
class Constraint:
    """One bound on a cost or on the accuracy.

    Attributes:
      metric: One of CONSTRAINT_METRICS.
      relation: "<=", "<", ">=" or ">".
      bound: Finite; for the accuracy a fraction from 0 to 1.

    Raises:
      ConstraintError: A value is not allowed.
    """

    metric: str
    relation: str
    bound: float

    def __post_init__(self):
        if self.metric not in CONSTRAINT_METRICS:
            raise ConstraintError(
                f"A constraint is on one of {list(CONSTRAINT_METRICS)}. Received: {self.metric!r}"
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

    def satisfied(self, values: np.ndarray) -> np.ndarray:
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


def extreme_genomes(choices: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns int32[2, n_genes]: the smallest and the largest value of every gene."""
    return np.array([[values[end] for values in choices] for end in (0, -1)], np.int32)


def check_feasible(
    constraints: Sequence[Constraint],
    cost: CostModel,
    choices: Sequence[Sequence[int]] | None = None,
) -> None:
    """Refuses bounds on costs that no architecture meets.

    Costs rise with every gene, so the genome of the smallest values attains the minima of all of
    them at once, and that of the largest values the maxima. A lower and an upper bound that
    exclude each other are left for the search to find.

    Args:
      constraints: Terms on the accuracy are passed over.
      cost: Cost model of the space.
      choices: Allowed values per gene, from `SearchSpace.restrict`; all by default.

    Raises:
      InfeasibleBudgetError: Names every term that cannot be met and the value that can.
    """
    choices = cost.space.restrict() if choices is None else choices
    costs = cost.evaluate(extreme_genomes(choices))
    broken = []
    for constraint in constraints:
        if constraint.metric == "accuracy":
            continue
        end, word = (0, "minimum") if constraint.relation in ("<", "<=") else (1, "maximum")
        attainable = costs[constraint.metric][end]
        if not constraint.satisfied(attainable):
            broken.append(f"{constraint} (attainable {word} {format_number(attainable)})")
    if broken:
        raise InfeasibleBudgetError(
            f"No architecture of space {cost.space.name!r} among those searched meets "
            f"{' and '.join(broken)}: change these bounds, or search more bit-widths."
        )


def format_number(value: float) -> str:
    """Returns `value` with all its digits and without a superfluous `.0`."""
    return repr(float(value)).removesuffix(".0")
