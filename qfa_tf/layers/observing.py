"""Watching the layers of a supernet during one pass, by an argument of the pass."""

from typing import TYPE_CHECKING, Any, Protocol

import tensorflow as tf

from quantize_configs.keras_backend import keras

if TYPE_CHECKING:
    from qfa_tf.layers.site import SiteChoice


class Observer(Protocol):
    """What a forward pass tells about every site and squeeze-excite; it runs eagerly then."""

    def before(self, layer: keras.layers.Layer, x: tf.Tensor, choice: Any) -> "SiteChoice | Any":
        """Sees the input of a layer and what the genome chose; returns the choice to run with."""

    def after(self, layer: keras.layers.Layer, y: tf.Tensor) -> None:
        """Sees the output of a layer."""


def observed(observer: Observer | None, layer, x: tf.Tensor, choice: Any, *arguments, **keywords):
    """`layer(x, choice, ...)`, whose first result is its output, under the eyes of an observer."""
    if observer is None:
        return layer(x, choice, *arguments, **keywords)
    result = layer(x, observer.before(layer, x, choice), *arguments, **keywords)
    observer.after(layer, result[0])
    return result
