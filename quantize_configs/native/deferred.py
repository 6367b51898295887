"""Maps that are computed by whoever quantizes them, in the same pass."""

import abc
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


class DeferredMap(abc.ABC):
    """An activation map, float32 [..., C], that is not computed yet."""

    @property
    @abc.abstractmethod
    def shape(self) -> tf.TensorShape:
        """Of the map."""

    @property
    def dtype(self) -> tf.DType:
        """float32."""
        return tf.float32

    @abc.abstractmethod
    def value(self) -> tf.Tensor:
        """The map."""

    @abc.abstractmethod
    def extremes(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Smallest and largest value of every channel, float32 [C] each; without gradients."""

    @abc.abstractmethod
    def fake_quantize(self, grid: tf.Tensor) -> tf.Tensor:
        """`NativeOperators.fake_quantize` of the map; values at bounds pass gradients."""


def computed(x: tf.Tensor | DeferredMap) -> tf.Tensor:
    """The map itself, for readers that do not quantize it."""
    return x.value() if isinstance(x, DeferredMap) else x


class DeferredNormalization(DeferredMap):
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
        """See `DeferredMap`."""
        return self._inputs[0].shape

    def value(self) -> tf.Tensor:
        """See `DeferredMap`."""
        return self._normalize()

    def extremes(self) -> tuple[tf.Tensor, tf.Tensor]:
        """See `DeferredMap`."""
        return self._low, self._high

    def fake_quantize(self, grid: tf.Tensor) -> tf.Tensor:
        """See `DeferredMap`."""
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


class DeferredScaling(DeferredMap):
    """The activation of a map times one number per channel plus another, not computed yet.

    To the last bit what TensorFlow's operators make of it, one after the other.

    Args:
      library: The operators.
      x: float32 [..., C].
      scale: float32 [C].
      offset: float32 [C].
      settings: Attributes of the operators.
    """

    def __init__(
        self,
        library: Any,
        x: tf.Tensor,
        scale: tf.Tensor,
        offset: tf.Tensor,
        settings: Mapping[str, Any],
    ):
        self._library = library
        self._arguments = {"x": x, "scale": scale, "offset": offset, **settings}
        self._extremes: tuple[tf.Tensor, tf.Tensor] | None = None

    @property
    def shape(self) -> tf.TensorShape:
        """See `DeferredMap`."""
        return self._arguments["x"].shape

    def value(self) -> tf.Tensor:
        """See `DeferredMap`."""
        return self._library.qfa_scale(**self._arguments)

    def extremes(self) -> tuple[tf.Tensor, tf.Tensor]:
        """See `DeferredMap`; one pass, however often they are asked for."""
        if self._extremes is None:
            low, high = self._library.qfa_scale_extremes(**self._arguments)
            for found in (low, high):
                found.set_shape(self.shape[-1:])
            self._extremes = low, high
        return self._extremes

    def fake_quantize(self, grid: tf.Tensor) -> tf.Tensor:
        """See `DeferredMap`."""
        return self._library.qfa_scale_quantize(**self._arguments, grid=grid)
