"""First steps of weight grids, found from the weights."""

from typing import Protocol

import numpy as np

SHARES = np.linspace(0.2, 1.0, 81)
"""Candidates for a step of least squared error, as shares of that which reaches the largest."""
SAMPLED = 1 << 15
"""Weights of one step of which some, evenly spaced, stand for all when there are more."""
CACHED = 1 << 14
"""Weights that are looked at together, so that they stay in the cache of a core."""


class WeightQuantizer(Protocol):
    """What steps are found for: an `LSQQuantizer`, described without importing it.

    Attributes:
      channel_axes: Axes of the weight along which steps differ.
      start_rule: "lsq", "largest" or "least_error".
    """

    channel_axes: tuple[int, ...]
    start_rule: str

    def limits(self, bits: int) -> tuple[float, float]:
        """Smallest and largest code."""


def weight_steps(values: np.ndarray, quantizer: WeightQuantizer, bits: int) -> np.ndarray:
    """Steps of one bit-width by the rule of a quantizer, float64.

    Returns:
      A scalar, or with `channel_axes` an array that broadcasts to `values`. 0 where all weights
      are 0.
    """
    axes = reduced_axes(values.ndim, quantizer.channel_axes)
    keep = bool(quantizer.channel_axes)
    _, qmax = quantizer.limits(bits)
    if quantizer.start_rule == "lsq":
        return 2.0 * np.mean(np.abs(values), axes, keepdims=keep) / np.sqrt(qmax)
    if quantizer.start_rule == "largest":
        return largest_steps(values, quantizer, bits)
    return least_error_steps(values, quantizer, bits)


def largest_steps(values: np.ndarray, quantizer: WeightQuantizer, bits: int) -> np.ndarray:
    """Steps with which the largest weight has the largest code."""
    axes = reduced_axes(values.ndim, quantizer.channel_axes)
    _, qmax = quantizer.limits(bits)
    return np.max(np.abs(values), axes, keepdims=bool(quantizer.channel_axes), initial=0.0) / qmax


def least_error_steps(
    values: np.ndarray,
    quantizer: WeightQuantizer,
    bits: int,
    importance: np.ndarray | None = None,
) -> np.ndarray:
    """Steps with the least squared error of the weights, or of what they are multiplied with.

    The largest weight counts in any case: no step is larger than what reaches it.

    Args:
      values: Weights.
      quantizer: Brings limits and axes.
      bits: Bit-width.
      importance: Factor of each squared error, which broadcasts to `values`.
    """
    qmin, qmax = quantizer.limits(bits)
    largest = largest_steps(values, quantizer, bits)
    if not values.size:
        return largest
    kept = sorted({axis % values.ndim for axis in quantizer.channel_axes})
    first = tuple(range(len(kept)))
    rows = np.moveaxis(values, kept, first).reshape(largest.size, -1)
    factors = None
    if importance is not None:
        importance = np.moveaxis(np.broadcast_to(importance, values.shape), kept, first)
        factors = importance.reshape(rows.shape)[:, :: _stride(rows)]
    rows = rows[:, :: _stride(rows)]
    best = np.empty(len(rows))
    count = max(1, CACHED // rows.shape[1])
    for start in range(0, len(rows), count):
        part = slice(start, start + count)
        best[part] = _least_error(
            np.ascontiguousarray(rows[part], np.float64),
            largest.reshape(-1)[part, None],
            (qmin, qmax),
            None if factors is None else factors[part],
        )
    return best.reshape(largest.shape)


def _stride(rows: np.ndarray) -> int:
    return -(-rows.shape[1] // SAMPLED)


def _least_error(
    rows: np.ndarray,
    largest: np.ndarray,
    limits: tuple[float, float],
    factors: np.ndarray | None,
) -> np.ndarray:
    """The best step of each row, [rows], in memory that stays in the cache."""
    best, least = largest[:, 0], np.full(len(rows), np.inf)
    work = np.empty_like(rows)
    for share in SHARES[::-1]:
        steps = largest * share
        np.divide(rows, np.where(steps > 0, steps, 1.0), out=work)
        np.rint(work, out=work)
        np.clip(work, *limits, out=work)
        work *= steps
        work -= rows
        if factors is None:
            error = np.einsum("ij,ij->i", work, work)
        else:
            error = np.einsum("ij,ij,ij->i", work, work, factors)
        best = np.where(error < least, steps[:, 0], best)
        least = np.minimum(error, least)
    return best


def reduced_axes(rank: int, channel_axes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a weight that share a step."""
    kept = {axis % rank for axis in channel_axes}
    return tuple(axis for axis in range(rank) if axis not in kept)
