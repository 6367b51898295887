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
