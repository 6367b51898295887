"""First steps of weight grids, found from the weights."""

from typing import Protocol

import numpy as np

SHARES = np.linspace(0.2, 1.0, 81)
"""Candidates for a step of least squared error, as shares of that which reaches the largest."""


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

    Args:
      values: Weights.
      quantizer: Brings limits and axes.
      bits: Bit-width.
      importance: Factor of each squared error, which broadcasts to `values`.
    """
    axes, keep = reduced_axes(values.ndim, quantizer.channel_axes), bool(quantizer.channel_axes)
    qmin, qmax = quantizer.limits(bits)
    largest = largest_steps(values, quantizer, bits)
    best, least = largest, None
    for share in SHARES[::-1]:
        steps = largest * share
        divisor = np.where(steps > 0, steps, 1.0)
        errors = (np.clip(np.rint(values / divisor), qmin, qmax) * steps - values) ** 2
        if importance is not None:
            errors = errors * importance
        error = np.sum(errors, axes, keepdims=keep)
        if least is None:
            least = error
            continue
        best = np.where(error < least, steps, best)
        least = np.minimum(error, least)
    return best


def reduced_axes(rank: int, channel_axes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a weight that share a step."""
    kept = {axis % rank for axis in channel_axes}
    return tuple(axis for axis in range(rank) if axis not in kept)
