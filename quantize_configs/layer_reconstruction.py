"""The outputs of a linear layer as a quadratic form of its weights, and the best codes for it.

With rows x of inputs as the quantized network makes them and the outputs y of the float network,

    E || x w_q + b - y ||^2 = w_q' H w_q - 2 w_q' G + const,   H = cov(x, x), G = cov(x, y)

for the best bias b, which is `mean(y) - mean(x) w_q`. Rounding to nearest minimises the error of
the weights; what counts is this error of the outputs (AdaRound, Nagel et al., ICML 2020, section
3). It is minimised by coordinate descent over integer codes: with all other codes of an output
channel fixed, the best code of weight i is the one nearest to `w_i - (H w - G)_i / H_ii`.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from quantize_configs.keras_backend import keras

if TYPE_CHECKING:
    pass

MOST_ROWS = 1 << 15
"""Positions of a feature map that are looked at, over all images."""
DAMPING = 0.01
"""Smallest weight of the error of the weights themselves, as a share of H's mean diagonal."""
PASSES = 4


@dataclasses.dataclass
class Reconstruction:
    """The quadratic form of one layer.

    Depthwise layers have one form per input channel, others a single one.

    Attributes:
      covariance: H, float64 [forms, inputs, inputs], damped.
      target: G, float64 [forms, inputs, outputs], damped towards the float weights.
      input_mean: float64 [forms, inputs].
      output_mean: float64 [forms, outputs], without bias.
    """

    covariance: np.ndarray
    target: np.ndarray
    input_mean: np.ndarray
    output_mean: np.ndarray

    @classmethod
    def of(
        cls, layer: keras.layers.Layer, kernel: np.ndarray, x: np.ndarray, x_float: np.ndarray
    ) -> "Reconstruction":
        """Measures a layer.

        Args:
          layer: Conv2D without groups, DepthwiseConv2D or Dense.
          kernel: Its float weight.
          x: Its inputs in the quantized network, float32 [N, ...].
          x_float: The same in the float network.
        """
        weights = as_matrices(layer, kernel).astype(np.float64)
        count, total = 0, [np.zeros([])] * 4
        rng = np.random.default_rng(0)
        per_image = max(MOST_ROWS // len(x), 1)
        for start in range(0, len(x), CHUNK):
            rows, float_rows = (
                patches(layer, kernel.shape, part[start : start + CHUNK]) for part in (x, x_float)
            )
            most = per_image * len(x[start : start + CHUNK])
            if rows.shape[1] > most:
                chosen = rng.choice(rows.shape[1], most, replace=False)
                rows, float_rows = rows[:, chosen], float_rows[:, chosen]
            outputs = float_rows @ weights.astype(np.float32)
            transposed = rows.transpose(0, 2, 1)
            sums = (
                (transposed @ rows).astype(np.float64),
                (transposed @ outputs).astype(np.float64),
                rows.sum(1, dtype=np.float64),
                outputs.sum(1, dtype=np.float64),
            )
            total = [before + one for before, one in zip(total, sums, strict=True)]
            count += rows.shape[1]
        covariance, target, input_mean, output_mean = (part / count for part in total)
        covariance -= input_mean[:, :, None] * input_mean[:, None]
        target -= input_mean[:, :, None] * output_mean[:, None]
        inputs = covariance.shape[-1]
        share = max(DAMPING, inputs / count)
        damping = share * np.trace(covariance, axis1=1, axis2=2)[:, None, None] / inputs + 1e-12
        covariance += damping * np.eye(inputs)
        return cls(covariance, target + damping * weights, input_mean, output_mean)

    def errors(self, weights: np.ndarray) -> np.ndarray:
        """Of outputs up to a constant: float64 [forms, outputs] for [forms, inputs, outputs]."""
        return np.sum(weights * (self.covariance @ weights - 2.0 * self.target), 1)

    def offset(self, weights: np.ndarray) -> np.ndarray:
        """What the bias must grow by so that outputs have their means: float64 [channels]."""
        means = self.output_mean - np.einsum("fi,fio->fo", self.input_mean, weights)
        return means.reshape(-1)

    def best_codes(
        self, steps: np.ndarray, start: np.ndarray, qmin: np.ndarray | float, qmax: float
    ) -> np.ndarray:
        """Codes by coordinate descent, from those that are nearest to `start`.

        Args:
          steps: float64 [forms, 1, outputs].
          start: Weights, float64 [forms, inputs, outputs].
          qmin: Smallest code, one or [forms, outputs].
          qmax: Largest code.

        Returns:
          float64 [forms, inputs, outputs], integers.
        """
        lowest = np.broadcast_to(qmin, steps[:, 0].shape)
        codes = np.clip(np.rint(start / steps), lowest[:, None], qmax)
        diagonal = np.diagonal(self.covariance, axis1=1, axis2=2)
        order = np.argsort(-diagonal.mean(0))
        covariance = self.covariance.astype(np.float32)
        for _ in range(PASSES):
            slope = (self.covariance @ (codes * steps) - self.target).astype(np.float32)
            moved = 0
            for i in order:
                wish = codes[:, i] - slope[:, i] / (diagonal[:, i, None] * steps[:, 0])
                change = np.clip(np.rint(wish), lowest, qmax) - codes[:, i]
                columns = np.flatnonzero(change.any(0))
                if not len(columns):
                    continue
                moved += int(np.count_nonzero(change))
                codes[:, i] += change
                update = (change * steps[:, 0])[:, columns].astype(np.float32)
                slope[:, :, columns] += covariance[:, :, i, None] * update[:, None]
            if not moved:
                break
        return codes


CHUNK = 16
"""Images whose patches are in memory at a time."""


def patches(layer: keras.layers.Layer, kernel_shape, x: np.ndarray) -> np.ndarray:
    """The inputs of every position, float32 [forms, positions, inputs]."""
    if isinstance(layer, keras.layers.Dense):
        return np.reshape(x, (1, -1, x.shape[-1]))
    height, width, channels = kernel_shape[:3]
    if (height, width, *layer.strides) == (1, 1, 1, 1):
        found = np.reshape(x, (-1, 1, channels))
    else:
        found = tf.image.extract_patches(
            x,
            [1, height, width, 1],
            [1, *layer.strides, 1],
            [1, *layer.dilation_rate, 1],
            layer.padding.upper(),
        ).numpy()
        found = found.reshape(-1, height * width, channels)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return np.ascontiguousarray(found.transpose(2, 0, 1))
    return found.reshape(1, len(found), -1)


def as_matrices(layer: keras.layers.Layer, kernel: np.ndarray) -> np.ndarray:
    """A Keras weight as [forms, inputs, outputs]."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        height, width, channels, multiplier = kernel.shape
        return kernel.reshape(height * width, channels, multiplier).transpose(1, 0, 2)
    return kernel.reshape(1, -1, kernel.shape[-1])


def as_kernel(layer: keras.layers.Layer, matrices: np.ndarray, shape) -> np.ndarray:
    """The inverse of `as_matrices`."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return matrices.transpose(1, 0, 2).reshape(shape)
    return matrices.reshape(shape)


def can_be_reconstructed(layer: keras.layers.Layer) -> bool:
    """Whether the outputs of a linear layer are a quadratic form here; groups are not."""
    return getattr(layer, "groups", 1) == 1
