"""Means over the steps of an epoch, around the functions that Keras calls for each step."""

from collections.abc import Callable, Iterator
from typing import Protocol

import tensorflow as tf

Logs = dict[str, tf.Tensor]
StepFunction = Callable[[Iterator], Logs]

UNTRAINED_ROLES = ("teacher",)
"""Roles of subnets that "loss" and "accuracy", the means over subnets, leave out."""


class Totals(Protocol):
    """What `Accumulating` sums up."""

    def reset(self) -> None:
        """Forgets all steps."""

    def add(self, logs: Logs) -> Logs:
        """Adds a step; returns the figures of all steps since `reset`."""


class Accumulating:
    """A step function of Keras that returns the figures of the epoch so far.

    Args:
      function: Returns those of one step.
      totals: Sums them up.

    Attributes:
      function: As given.
    """

    def __init__(self, function: StepFunction, totals: Totals):
        self.function, self._totals = function, totals

    def __call__(self, iterator: Iterator) -> Logs:
        """Runs a step."""
        return self._totals.add(self.function(iterator))


def without_totals(function: StepFunction) -> StepFunction:
    """The function that was given to `Accumulating`, or the function itself."""
    return function.function if isinstance(function, Accumulating) else function


class StepMeans:
    """Means of the figures of training steps; steps in which one is NaN do not count for it.

    "loss" and "accuracy" are added: the means over the subnets that were trained.
    """

    def __init__(self):
        self._sums: tf.Tensor | None = None

    def reset(self) -> None:
        """See `Totals`."""
        self._sums = None

    def add(self, logs: Logs) -> Logs:
        """See `Totals`. A figure that was NaN in all steps, as of a subnet at rest, is NaN."""
        values = tf.stack([tf.cast(value, tf.float32) for value in logs.values()])
        known = tf.math.is_finite(values) | tf.math.is_inf(values)
        step = tf.stack([tf.where(known, values, 0.0), tf.cast(known, tf.float32)])
        self._sums = step if self._sums is None else self._sums + step
        means = self._sums[0] / self._sums[1]
        result = dict(zip(logs, tf.unstack(means), strict=True))
        return {**over_roles(result), **result}


def over_roles(figures: Logs) -> Logs:
    """The means over all roles that learn and are not at rest, such as {"loss", "accuracy"}.

    Args:
      figures: Such as "largest_loss"; what ends in "_loss" tells the roles.
    """
    summary = {}
    roles = [key.removesuffix("_loss") for key in figures if key.endswith("_loss")]
    pairs = [key.partition("_") for key in figures]
    for kind in dict.fromkeys(kind for role, _, kind in pairs if role in roles):
        values = [
            figures[f"{role}_{kind}"]
            for role in roles
            if role not in UNTRAINED_ROLES and f"{role}_{kind}" in figures
        ]
        if values:
            stacked = tf.stack(values)
            known = tf.math.logical_not(tf.math.is_nan(stacked))
            summary[kind] = tf.reduce_sum(tf.where(known, stacked, 0.0)) / tf.reduce_sum(
                tf.cast(known, tf.float32)
            )
    return summary
