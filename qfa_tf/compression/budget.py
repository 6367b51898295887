"""What a compressed network may take: reading a budget, and what a search is told of it."""

import re
from collections.abc import Mapping

import numpy as np

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.cost.deployment_costs import TFLITE_BYTES
from qfa_tf.runs.errors import ConfigError
from qfa_tf.search.constraints import Constraint, total_violation
from qfa_tf.search.sampling import sample_feasible
from qfa_tf.search.subspace import Subspace

UNITS = {"b": 1.0, "kb": 1e3, "mb": 1e6, "kib": 1024.0, "mib": 1024.0**2}
USED = 0.9
"""Share of a budget that a search uses at least, where subnets do: what is left over is lost."""
SPARE_BYTES = 1000
"""By which a file may be larger than it was predicted."""
_AMOUNT = re.compile(r"\s*([0-9.]+)\s*([A-Za-z]+)\s*")


def parse_budget(budget: str) -> tuple[float | None, float | None]:
    """(bytes, milliseconds) of a budget such as "2 MB and 8 ms"; None for what it does not name.

    Raises:
      ConfigError: It names something else.
    """
    size = latency = None
    for part in budget.split(" and "):
        match = _AMOUNT.fullmatch(part)
        unit = match.group(2).lower() if match else ""
        try:
            amount = float(match.group(1)) if match else 0.0
        except ValueError:
            amount = 0.0
        if amount > 0 and unit in UNITS and size is None:
            size = amount * UNITS[unit]
        elif amount > 0 and unit == "ms" and latency is None:
            latency = amount
        else:
            raise ConfigError(
                "A budget is a size, a latency on this machine or both, such as '2 MB', '8 ms' or "
                f"'2 MB and 8 ms' (units: B, kB, MB, KiB, MiB, ms). Received: {budget!r}."
            )
    return size, latency


def require_attainable(cost: CostModel, metric: str, most: float, unit: str) -> None:
    """Refuses a budget that no subnet keeps, with the bounds.

    Raises:
      ConfigError: None does.
    """
    low, high = cost.bounds(metric, cost.space.restrict())
    if most < low:
        shown = "{:,.0f}" if unit == "bytes" else "{:.3g}"
        told, least, largest = (shown.format(value) for value in (most, low, high))
        raise ConfigError(
            f"No subnet has {told} {unit}: they have from {least} to {largest}. Take a larger "
            "budget, or more elastic choices (weight_bits, width_ratios, residual_widths)."
        )


def constraints_of(cost: CostModel, most: Mapping[str, float]) -> list[str]:
    """What a search is told of a budget: its bounds, and to use it.

    A budget of one cost is used to `USED` of it, or of what the largest subnet takes. With two, one
    may be far from spent when the other one is.

    Args:
      cost: Of the space.
      most: Maps each cost to the most of it, in the unit of the cost.
    """
    bounds = [Constraint(metric, "<=", value) for metric, value in most.items()]
    if len(bounds) == 1:
        (bound,) = bounds
        smallest, largest = Subspace(cost.space).bounds(cost, bound.metric)
        least = USED * min(bound.bound, largest)
        if bound.metric == TFLITE_BYTES:
            least -= SPARE_BYTES
        least = float(f"{least:.3g}")
        between = [bound, Constraint(bound.metric, ">=", least)]
        if least > smallest and _is_met(cost, between):
            bounds = between
    return [str(bound) for bound in bounds]


def _is_met(cost: CostModel, constraints: list[Constraint]) -> bool:
    """Whether a search finds a subnet to begin with."""
    deployment = sorted({term.metric for term in constraints} - set(METRICS))

    def feasible(genomes: np.ndarray) -> np.ndarray:
        return total_violation(constraints, cost.evaluate(genomes, deployment), len(genomes)) == 0

    rng = np.random.default_rng(0)
    return len(sample_feasible(rng, Subspace(cost.space), feasible, 2)) == 2
