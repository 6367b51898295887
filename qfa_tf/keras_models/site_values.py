"""The trained values of one convolution or dense layer, as a supernet stores them."""

import dataclasses

import numpy as np

from quantize_configs.keras_backend import keras

layers = keras.layers


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Batch normalization of [C] channels, float32 each.

    Attributes:
      gamma: Gains, none negative.
      beta: Offsets.
      mean: Moving means of what is normalized, without the bias of the layer in front.
      variance: Moving variances.
      epsilon: Added to the variances.
    """

    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float


@dataclasses.dataclass(frozen=True)
class SiteValues:
    """What a site of a network was trained to.

    Attributes:
      kernel: [k, k, C, 1] "depthwise", [h, w, inputs, outputs] "convolution", else
        [inputs, outputs].
      bias: [outputs], where no normalization follows; None without one.
      normalization: What follows; None without one.
    """

    kernel: np.ndarray
    bias: np.ndarray | None
    normalization: Normalization | None


def site_values(
    kernel: np.ndarray, bias: np.ndarray | None, norm: keras.layers.BatchNormalization | None
) -> SiteValues:
    """The values of a site.

    A bias in front of a normalization moves its mean; channels with a negative gain are turned
    over, see `quantize_configs.gain_signs`.

    Args:
      kernel: As in `SiteValues`.
      bias: [outputs] or None.
      norm: The normalization that follows, or None.
    """
    kernel = np.asarray(kernel, np.float32)
    if norm is None:
        return SiteValues(kernel, bias, None)
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    gamma = norm.gamma.numpy() if norm.scale else np.ones_like(mean)
    beta = norm.beta.numpy() if norm.center else np.zeros_like(mean)
    mean = mean if bias is None else mean - bias
    signs = np.where(gamma < 0, -1.0, 1.0).astype(np.float32)
    is_depthwise = kernel.ndim == 4 and kernel.shape[3] == 1 and kernel.shape[2] == len(mean)
    kernel = kernel * (signs[:, None] if is_depthwise else signs)
    values = Normalization(gamma * signs, beta, mean * signs, variance, float(norm.epsilon))
    return SiteValues(kernel, None, values)
