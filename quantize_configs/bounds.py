"""Bounds that training keeps learned values within."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from quantize_configs.keras_backend import keras


def fewest_steps(largest_codes: np.ndarray) -> np.ndarray:
    """How many steps the largest weight measures at least, by the largest code of a grid.

    LSQ's first steps of few bits leave many codes unused, so these must, too.
    """
    return np.minimum(largest_codes, np.maximum(2.0, largest_codes / 16.0))


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


def magnitudes_of(
    values: tf.Tensor, axes: Sequence[int] | None = None, keep: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and largest magnitude of weights, over some axes or all."""
    values = tf.abs(values)
    return tf.reduce_mean(values, axes, keep), tf.reduce_max(values, axes, keep)


class StepsWithinWeights(keras.constraints.Constraint):
    """Keeps the steps of weight grids where the weights can use them.

    A step is learned by its value, and a jump across zero makes it tiny: then its gradient, which
    goes with 1 / step, throws it far beyond all weights. They all round to zero from there on, and
    every network with that layer answers the same for all images. The bounds are wide: a grid
    reaches at least the mean weight (its magnitude), and the largest weight is at least
    `fewest_steps` of it.

    Args:
      magnitudes: Function for the mean and the largest magnitude of the weights of each step,
        positive float32, in a shape that broadcasts to the steps.
      largest_codes: Of each step, in such a shape, too.
    """

    def __init__(
        self,
        magnitudes: Callable[[], tuple[tf.Tensor, tf.Tensor]],
        largest_codes: np.ndarray,
    ):
        self._magnitudes = magnitudes
        self._codes = np.asarray(largest_codes, np.float32)

    def __call__(self, weight: tf.Tensor) -> tf.Tensor:
        """The steps, positive and within their bounds; those of weights that are zero stay."""
        mean, largest = self._magnitudes()
        within = tf.clip_by_value(
            tf.abs(weight), mean / self._codes, largest / fewest_steps(self._codes)
        )
        return tf.where(largest > 0.0, within, weight)


def bounds_of(share: float | None, limits: np.ndarray) -> WithinBounds | None:
    """What keeps learned values within a share of the steps of their grids; None for no share.

    Args:
      share: See `LearnedValue.largest_share`.
      limits: float32 [n, 2], smallest and largest code for each value.
    """
    return None if share is None else WithinBounds(share * (limits[:, 1] - limits[:, 0]))
