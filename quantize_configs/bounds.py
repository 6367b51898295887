"""Bounds that training keeps learned values within."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from quantize_configs.keras_backend import keras


class WithinBounds(keras.constraints.Constraint):
    """Keeps each value of a vector between a bound and its negative.

    Args:
      bounds: float32 [n], not negative.
    """

    def __init__(self, bounds: Sequence[float] | np.ndarray):
        self.bounds = np.asarray(bounds, np.float32)

    def __call__(self, weight: tf.Tensor) -> tf.Tensor:
        """The clipped vector."""
        return tf.clip_by_value(weight, -self.bounds, self.bounds)

    def get_config(self) -> dict[str, list[float]]:
        """Constructor arguments."""
        return {"bounds": self.bounds.tolist()}


def bounds_of(share: float | None, limits: np.ndarray) -> WithinBounds | None:
    """What keeps learned values within a share of the steps of their grids; None for no share.

    Args:
      share: See `LearnedValue.largest_share`.
      limits: float32 [n, 2], smallest and largest code for each value.
    """
    return None if share is None else WithinBounds(share * (limits[:, 1] - limits[:, 0]))
