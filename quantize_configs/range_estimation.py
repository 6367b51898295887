"""Ranges of activation tensors, estimated from one batch, and the grid that covers a range."""

import numpy as np
import tensorflow as tf

from quantize_configs.active_channels import mean_of_active, smallest_and_largest
from quantize_configs.errors import InvalidInputError
from quantize_configs.native.deferred import DeferredMap, computed
from quantize_configs.native.operators import native_operators
from quantize_configs.ordered_sums import ordered_means
from quantize_configs.quantizer_options import ESTIMATORS

SMALLEST_STEP = 2.0**-23
"""Machine epsilon of float32."""

_SMALLEST_NORMAL = 2.0**-126

MIDDLE = 0.25
"""How far the zero point of a nearly symmetric range may lie below the middle, in codes."""

SAMPLED_VALUES, TRAINING_VALUES = 1 << 15, 1 << 12
"""Values that "least_error" looks at, where a range is stored and in each step of a training."""

BY_CHANNEL = ("channel_mean", "min_max")
"""Estimators that the extremes of the channels are enough for."""

SHARES_OF_RANGE = np.linspace(1.0, 0.2, 33)


def estimate_range(
    x: tf.Tensor | DeferredMap,
    estimator: str,
    ordered: bool = False,
    levels: int = 255,
    sampled: int = SAMPLED_VALUES,
    active: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Range of a batch, one pair per tensor; carries no gradient.

    BatchQuant's estimator ("channel_mean") averages the extremes of the channels over the batch,
    so that one outlier cannot stretch the grid of all channels.

    Args:
      x: Tensor with samples on the first and channels on the last axis.
      estimator: "channel_mean" (the paper's), "sample_mean" (mean of the samples' extremes),
        "min_max" (extremes of the whole tensor) or "least_error" (the part of them whose grid has
        the least squared error, see `least_error_range`).
      ordered: Whether to add in the order of `ordered_means`.
      levels: Steps of the grid, qmax - qmin, for "least_error".
      sampled: See `least_error_range`.
      active: bool [C], which channels count; None for all. Neither with `ordered` nor with
        "least_error".

    Returns:
      (low, high), float32 scalars with low <= 0 <= high.
    """
    check_estimator(estimator)
    if estimator not in BY_CHANNEL:
        x = computed(x)
    if not isinstance(x, DeferredMap):
        x = tf.stop_gradient(tf.cast(x, tf.float32))
    rank = x.shape.rank
    axes = {
        "channel_mean": list(range(rank - 1)),
        "sample_mean": list(range(1, rank)),
        "min_max": None,
        "least_error": None,
    }[estimator]
    low, high = extremes_over(x, axes, active)
    if estimator == "least_error":
        return least_error_range(x, tf.minimum(low, 0.0), tf.maximum(high, 0.0), levels, sampled)
    if ordered and estimator != "min_max":
        low, high = tf.unstack(ordered_means(tf.stack([low, high], 1)))
    else:
        counted = active if estimator == "channel_mean" else None
        low, high = mean_of_active(low, counted), mean_of_active(high, counted)
    return tf.minimum(low, 0.0), tf.maximum(high, 0.0)


def extremes_over(
    x: tf.Tensor | DeferredMap, axes: list[int] | None, active: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Smallest and largest values over some axes, natively where that is at hand.

    Args:
      x: [..., C], or a map that is not computed yet.
      axes: See `smallest_and_largest`.
      active: See `smallest_and_largest`.
    """
    native = native_operators()
    by_channel = axes is not None and axes == list(range(x.shape.rank - 1))
    if isinstance(x, DeferredMap):
        low, high = x.extremes()
        return (low, high) if by_channel else (tf.reduce_min(low), tf.reduce_max(high))
    usable = active is None and x.dtype == tf.float32 and (by_channel or axes is None)
    if native is None or not usable:
        return smallest_and_largest(x, axes, active)
    low, high = native.extremes(x)
    return (low, high) if by_channel else (tf.reduce_min(low), tf.reduce_max(high))


def least_error_range(
    x: tf.Tensor, low: tf.Tensor, high: tf.Tensor, levels: int, sampled: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The share of [low, high] whose grid has the least squared error on a sample of `x`.

    Values outside a grid are clipped to its ends, and count with the error that this makes.

    Args:
      x: float32 tensor.
      low: Its smallest value, at most 0.
      high: Its largest value, at least 0.
      levels: Steps of the grid.
      sampled: About how many values are looked at.

    Returns:
      (low, high), float32 scalars.
    """
    values = tf.reshape(x, [-1])
    values = values[:: tf.maximum(tf.size(values) // sampled, 1)]
    shares = tf.constant(SHARES_OF_RANGE, tf.float32)[:, None]
    step = tf.maximum((high - low) * shares / levels, SMALLEST_STEP)
    zero_point = tf.round(-low * shares / step)
    codes = tf.clip_by_value(tf.round(values / step) + zero_point, 0.0, levels)
    error = tf.reduce_sum(tf.square((codes - zero_point) * step - values), 1)
    share = tf.constant(SHARES_OF_RANGE, tf.float32)[tf.argmin(error)]
    return low * share, high * share


def check_estimator(estimator: str) -> str:
    """Returns `estimator` when it is known; raises ValueError otherwise."""
    if estimator not in ESTIMATORS:
        raise InvalidInputError(f"estimator must be one of {ESTIMATORS}. Received: {estimator!r}.")
    return estimator


def symmetric_grid_of_range(
    low: tf.Tensor, high: tf.Tensor, qmax: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Step of the grid with zero point 0 that covers [low, high], and that zero point.

    Computed in float64 and rounded to float32. An empty range gives step 1. No step is so small
    that the 6 of a ReLU6 takes more steps than the 32 bits in which LiteRT counts them.
    """
    largest = tf.cast(tf.maximum(-low, high), tf.float64)
    smallest = tf.constant(2.0**-28, tf.float64)
    step = tf.maximum(largest / tf.cast(qmax, tf.float64), smallest)
    step = tf.where(tf.equal(largest, 0.0), tf.ones_like(step), step)
    return tf.cast(step, tf.float32), tf.zeros([])


def grid_of_stored_range(
    low: np.float32, high: np.float32, qmin: float, qmax: float, nearest: bool = False
) -> tuple[np.float32, np.float32]:
    """`grid_of_range` of numbers, the same to the last bit, without an operation for each step."""
    # TensorFlow takes subnormal numbers for zeros.
    first, last = (
        np.float64(value if abs(value) >= _SMALLEST_NORMAL else 0.0) for value in (low, high)
    )
    least, most = np.float64(qmin), np.float64(qmax)
    if first == last:
        return np.float32(1), np.float32(0)
    step = np.maximum((last - first) / (most - least), SMALLEST_STEP)
    zero_point = least - np.rint(first / step)
    distance = (least + most) / 2.0 - (least - first / step)
    if not nearest and abs(distance) < 0.5:
        zero_point = np.floor((least + most) / 2.0) + (distance < MIDDLE)
    return np.float32(step), np.float32(np.clip(zero_point, least, most))


def grid_of_range(
    low: tf.Tensor, high: tf.Tensor, qmin: tf.Tensor, qmax: tf.Tensor, nearest: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Step and integer zero point of the grid that covers [low, high]; carries no gradient.

    Computed in float64 and rounded to float32. An empty range gives step 1, zero point 0.

    A symmetric range lies exactly between the two middle codes. To the nearest, noise would decide
    for one of them in each batch anew, and move the whole grid by a step; here the higher one is
    taken where the range is at least nearly symmetric, see `MIDDLE`.

    Args:
      low: Lower end, at most 0.
      high: Upper end, at least 0.
      qmin: Smallest code.
      qmax: Largest code.
      nearest: Whether the zero point is the code nearest to zero in any case, as in the paper.

    Returns:
      (step, zero_point), float32 scalars.
    """
    low, high, qmin, qmax = (tf.cast(value, tf.float64) for value in (low, high, qmin, qmax))
    smallest = tf.constant(SMALLEST_STEP, tf.float64)
    empty = tf.equal(low, high)
    step = tf.maximum((high - low) / (qmax - qmin), smallest)
    step = tf.where(empty, tf.ones_like(step), step)
    zero_point = qmin - tf.round(low / step)
    if not nearest:
        middle = (qmin + qmax) / 2.0
        distance = middle - (qmin - low / step)
        higher = tf.floor(middle) + tf.cast(distance < MIDDLE, tf.float64)
        zero_point = tf.where(tf.abs(distance) < 0.5, higher, zero_point)
    zero_point = tf.clip_by_value(zero_point, qmin, qmax)
    zero_point = tf.where(empty, tf.zeros_like(zero_point), zero_point)
    # Said here, so that no gradient of all this is built to be thrown away.
    step, zero_point = (tf.stop_gradient(value) for value in (step, zero_point))
    return tf.cast(step, tf.float32), tf.cast(zero_point, tf.float32)
