"""The outputs of a linear layer as a quadratic form of its weights, and the best codes for it.

With rows x of inputs as the quantized network makes them and the outputs y of the float network,

    E || x w_q + b - y ||^2 = w_q' H w_q - 2 w_q' G + const,   H = cov(x, x), G = cov(x, y)

for the best bias b, which is `mean(y) - mean(x) w_q`. Rounding to nearest minimises the error of
the weights; what counts is this error of the outputs (AdaRound, Nagel et al., ICML 2020, section
3). It is minimised by coordinate descent over integer codes: with all other codes of an output
channel fixed, the best code of weight i is the one nearest to `w_i - (H w - G)_i / H_ii`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from quantize_configs.keras_backend import keras

MOST_ROWS = 1 << 15
"""Positions of a feature map that are looked at, over all images and forms."""
LEAST_ROWS = 1 << 12
"""The same for each form of a layer with many, whose inputs are few."""
DAMPING = 0.01
"""Smallest weight of the error of the weights themselves, as a share of H's mean diagonal."""
PASSES = 4
BLOCK = 32
"""Inputs whose codes are chosen before the slopes of all others follow, by one product."""


@dataclasses.dataclass
class Reconstruction:
    """The quadratic form of one layer.

    Depthwise layers have one form per input channel, others a single one.

    Attributes:
      covariance: H, float64 [forms, inputs, inputs], damped.
      target: G, float64 [forms, inputs, outputs], damped towards the float weights.
    """

    covariance: np.ndarray
    target: np.ndarray

    @classmethod
    def of(
        cls,
        layer: keras.layers.Layer,
        kernel: np.ndarray,
        x: np.ndarray,
        x_float: np.ndarray,
        lacking: np.ndarray | None = None,
    ) -> "Reconstruction":
        """Measures a layer.

        Args:
          layer: Conv2D without groups, DepthwiseConv2D or Dense.
          kernel: Its float weight.
          x: Its inputs in the quantized network, float32 [N, ...].
          x_float: The same in the float network.
          lacking: What the layer should put out beyond the outputs of the float network, float32
            [N, ..., outputs]; nothing when None.
        """
        weights = as_matrices(layer, kernel).astype(np.float64)
        count, total = 0, [np.zeros([])] * 4
        rng = np.random.default_rng(0)
        most_rows = max(MOST_ROWS // len(weights), LEAST_ROWS)
        for start in range(0, len(x), CHUNK):
            part = slice(start, start + CHUNK)
            most = max(most_rows * len(x[part]) // len(x), 1)
            pair = (x[part], x_float[part])
            (rows, float_rows), chosen = patches(layer, kernel.shape, pair, most, rng)
            outputs = float_rows @ weights.astype(np.float32)
            if lacking is not None:
                extra = lacking[part].reshape(-1, len(weights), weights.shape[2])[chosen]
                outputs += extra.transpose(1, 0, 2)
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
        return cls(covariance, target + damping * weights)

    def errors(self, weights: np.ndarray) -> np.ndarray:
        """Of outputs up to a constant: float64 [forms, outputs] for [forms, inputs, outputs]."""
        return np.sum(weights * (self.covariance @ weights - 2.0 * self.target), 1)

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
        order = np.argsort(-np.diagonal(self.covariance, axis1=1, axis2=2).mean(0))
        covariance = self.covariance[:, order][:, :, order].astype(np.float32)
        target = self.target[:, order].astype(np.float32)
        diagonal = np.diagonal(covariance, axis1=1, axis2=2)
        lowest, step = np.broadcast_to(qmin, steps[:, 0].shape), steps[:, 0].astype(np.float32)
        lowest, highest = lowest.astype(np.float32), np.float32(qmax)
        codes = np.clip(np.rint(start[:, order] / steps), lowest[:, None], qmax).astype(np.float32)
        for _ in range(PASSES):
            slope = covariance @ (codes * step[:, None]) - target
            moved = False
            for first in range(0, len(order), BLOCK):
                block = slice(first, first + BLOCK)
                local, corner = slope[:, block], covariance[:, block, block]
                changes = np.zeros_like(local)
                for i in range(local.shape[1]):
                    place = first + i
                    wish = codes[:, place] - local[:, i] / (diagonal[:, place, None] * step)
                    change = np.clip(np.rint(wish), lowest, highest) - codes[:, place]
                    if not change.any():
                        continue
                    codes[:, place] += change
                    changes[:, i] = change * step
                    local[:, i + 1 :] += corner[:, i + 1 :, i, None] * changes[:, None, i]
                if changes.any():
                    moved = True
                    rest = slice(first + BLOCK, None)
                    slope[:, rest] += covariance[:, rest, block] @ changes
            if not moved:
                break
        result = np.empty(codes.shape)
        result[:, order] = codes
        return result

    def best_steps(self, codes: np.ndarray, steps: np.ndarray, shared: bool) -> np.ndarray:
        """Steps with the least error for given codes, float64 [forms, 1, outputs].

        Args:
          codes: float64 [forms, inputs, outputs].
          steps: What is kept where no positive step is better, [forms, 1, outputs].
          shared: Whether all outputs have one step.
        """
        ours = np.sum(codes * self.target, 1, keepdims=True)
        square = np.sum(codes * (self.covariance @ codes), 1, keepdims=True)
        if shared:
            ours, square = np.full_like(ours, ours.sum()), np.full_like(square, square.sum())
        better = (ours > 0) & (square > 0)
        return np.divide(ours, square, out=np.array(steps, np.float64), where=better)


CHUNK = 16
"""Images whose patches are in memory at a time."""


def patches(
    layer: keras.layers.Layer,
    kernel_shape: Sequence[int],
    images: Sequence[np.ndarray],
    most: int,
    rng: np.random.Generator,
) -> tuple[list[np.ndarray], np.ndarray]:
    """What a layer reads of images at the same places.

    Args:
      layer: See `Reconstruction.of`.
      kernel_shape: Of its weight.
      images: Several versions of the same inputs, float32 [N, ...].
      most: How many places to draw, of all images together.
      rng: Draws them where there are more.

    Returns:
      float32 [forms, places, inputs] for each version, and the places drawn of those of the
      output, int [places].
    """
    if isinstance(layer, keras.layers.Dense):
        flat = [x.reshape(-1, x.shape[-1]) for x in images]
        chosen = _drawn(len(flat[0]), most, rng)
        return [x[chosen][None] for x in flat], chosen
    height, width, channels = kernel_shape[:3]
    window = [(height - 1) * layer.dilation_rate[0] + 1, (width - 1) * layer.dilation_rate[1] + 1]
    padded = [_padded(layer, window, x) for x in images]
    count, *sizes = padded[0].shape[:3]
    rows, columns = (
        (size - reach) // stride + 1
        for size, reach, stride in zip(sizes, window, layer.strides, strict=True)
    )
    chosen = _drawn(count * rows * columns, most, rng)
    image, row, column = np.unravel_index(chosen, (count, rows, columns))
    y = row[:, None] * layer.strides[0] + np.arange(height) * layer.dilation_rate[0]
    x = column[:, None] * layer.strides[1] + np.arange(width) * layer.dilation_rate[1]
    found = [one[image[:, None, None], y[:, :, None], x[:, None]] for one in padded]
    found = [one.reshape(len(chosen), height * width, channels) for one in found]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [np.ascontiguousarray(one.transpose(2, 0, 1)) for one in found], chosen
    return [one.reshape(1, len(chosen), -1) for one in found], chosen


def _drawn(count: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """All of `count` places, or `most` of them."""
    return np.arange(count) if count <= most else np.sort(rng.choice(count, most, replace=False))


def _padded(layer: keras.layers.Layer, window: Sequence[int], x: np.ndarray) -> np.ndarray:
    """Images with the zeros that padding "same" adds."""
    if layer.padding != "same":
        return x
    added = []
    for size, reach, stride in zip(x.shape[1:3], window, layer.strides, strict=True):
        missing = max((-(-size // stride) - 1) * stride + reach - size, 0)
        added.append((missing // 2, missing - missing // 2))
    return np.pad(x, ((0, 0), *added, (0, 0)))


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
