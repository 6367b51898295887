"""Fronts of high accuracy at low cost."""

import numpy as np


def non_dominated(accuracy: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Returns the indices of the front, cheapest first.

    A point is on the front when no other is at least as accurate and at least as cheap, and better
    in one of the two. Of equal points the first one is kept.

    Args:
      accuracy: float[n], higher is better.
      cost: float[n], lower is better.
    """
    accuracy, cost = np.asarray(accuracy, np.float64), np.asarray(cost, np.float64)
    order = np.lexsort((-accuracy, cost))
    best_before = np.maximum.accumulate(accuracy[order])
    best_before = np.concatenate([[-np.inf], best_before[:-1]])
    return order[accuracy[order] > best_before[: len(order)]]


def hypervolume(accuracy: np.ndarray, cost: np.ndarray, reference_cost: float) -> float:
    """Returns the area that points dominate, as a share of accuracy 0..1 times cost 0..reference.

    Args:
      accuracy: float[n], fractions.
      cost: float[n].
      reference_cost: Points that cost as much or more add nothing.
    """
    accuracy, cost = np.asarray(accuracy, np.float64), np.asarray(cost, np.float64)
    cheap = cost < reference_cost
    accuracy, cost = accuracy[cheap], cost[cheap]
    front = non_dominated(accuracy, cost)
    heights = np.diff(accuracy[front], prepend=0.0)
    return float(np.sum(heights * (1.0 - cost[front] / reference_cost)))
