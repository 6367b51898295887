"""A normalized map that is computed by whoever quantizes it, in the same pass."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


class DeferredNormalization:
    """Batch normalization and activation of a map, not computed yet.

    Its range is known after one pass over what is to be normalized (after two where the activation
    is not monotonic), and quantization needs a second one; the map itself is never written.

    Args:
      library: The operators.
      x: float32 [..., C].
      gamma: float32 [C].
      beta: float32 [C].
      settings: Attributes of the operators.
      normalize: What computes the map for readers that do not quantize it.
    """

    def __init__(
        self,
        library: Any,
        x: tf.Tensor,
        gamma: tf.Tensor,
        beta: tf.Tensor,
        settings: Mapping[str, Any],
        normalize: Callable[[], tf.Tensor],
    ):
        self._library = library
        self._inputs = x, gamma, beta
        self._settings = dict(settings)
        self._normalize = normalize
        found = library.qfa_normalize_moments(x=x, gamma=gamma, beta=beta, **self._settings)
        for value in found:
            value.set_shape(gamma.shape)
        self._mean, self._variance, self._low, self._high = found

    @property
    def shape(self) -> tf.TensorShape:
        """Of the map."""
        return self._inputs[0].shape

    @property
    def dtype(self) -> tf.DType:
        """float32."""
        return self._inputs[0].dtype

    def value(self) -> tf.Tensor:
        """The map."""
        return self._normalize()

    def extremes(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Smallest and largest value of every channel, float32 [C] each; without gradients."""
        return self._low, self._high

    def fake_quantize(self, grid: tf.Tensor) -> tf.Tensor:
        """`NativeOperators.fake_quantize` of the map; values at bounds pass gradients."""
        x, gamma, beta = self._inputs
        return self._library.qfa_normalize_quantize(
            x=x,
            gamma=gamma,
            beta=beta,
            mean=self._mean,
            variance=self._variance,
            grid=grid,
            **self._settings,
        )
