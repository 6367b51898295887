"""Leaving out measurements that lie far from all others, before a predictor learns from them."""

import numpy as np

NEIGHBOURS = 5
ROUNDS = (5.5, 4.0, 4.0, 4.0)
"""Four rounds as in the QFA recipe. There the limits are 0.55, 0.4, 0.4, 0.4 in units of MFLOPs and
points of accuracy, which suit 8000 ImageNet networks; here they are multiples of the median."""


def inliers(cost: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Returns bool[n]: which measurements have others near them in cost and accuracy.

    In each round, those go whose mean distance to their five nearest neighbours exceeds a
    multiple of the median of that distance. Both axes are divided by their standard deviation.

    Args:
      cost: float64[n].
      accuracy: float64[n].
    """
    points = np.stack([cost, accuracy], axis=1).astype(np.float64)
    spread = points.std(axis=0)
    points /= np.where(spread > 0, spread, 1.0)
    kept = np.arange(len(points))
    for limit in ROUNDS:
        if len(kept) <= NEIGHBOURS + 1:
            break
        distance = _neighbour_distance(points[kept])
        near = distance <= limit * np.median(distance)
        if np.median(distance) == 0 or near.all():
            break
        kept = kept[near]
    mask = np.zeros(len(points), bool)
    mask[kept] = True
    return mask


def _neighbour_distance(points: np.ndarray) -> np.ndarray:
    from scipy.spatial import cKDTree

    distances, _ = cKDTree(points).query(points, k=NEIGHBOURS + 1)
    return distances[:, 1:].mean(axis=1)  # the nearest one is the point itself
