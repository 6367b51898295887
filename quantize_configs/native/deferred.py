"""A normalized map that is computed by whoever quantizes it, in the same pass."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

NORMALIZATION = ("x", "gamma", "beta", "mean", "variance")
GRID = ("scale", "zero_point", "qmin", "qmax", "enabled")


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
        x, gamma, beta = map(tf.stop_gradient, self._inputs)
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

    def fake_quantize(self, scale, zero_point, qmin, qmax, enabled) -> tf.Tensor:
        """`fake_quantize` of the map on an integer zero point; values at bounds pass gradients."""

        @tf.custom_gradient
        def quantized(*arguments):
            # Made in this very graph, as in `fake_quantize`.
            values = map(tf.identity, arguments)
            inputs = dict(zip((*NORMALIZATION, *GRID), values, strict=True))
            inputs |= self._settings

            def gradient(upstream):
                found = self._library.qfa_normalize_quantize_gradient(upstream=upstream, **inputs)
                to_x, to_gamma, to_beta, to_scale, to_zero_point = found
                for value, source in ((to_gamma, "gamma"), (to_beta, "beta")):
                    value.set_shape(inputs[source].shape)
                for value in (to_scale, to_zero_point):
                    value.set_shape([])
                learned = to_x, to_gamma, to_beta, None, None, to_scale, to_zero_point
                return *learned, None, None, None

            return self._library.qfa_normalize_quantize(**inputs), gradient

        grid = scale, zero_point, qmin, qmax, enabled
        return quantized(*self._inputs, self._mean, self._variance, *grid)
