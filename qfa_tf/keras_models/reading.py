"""Reading a functional Keras model as a network without choices."""

import dataclasses
import warnings
from collections.abc import Mapping

import numpy as np

from qfa_tf.keras_models.layers import READERS
from qfa_tf.keras_models.loading import of_unit_pixels
from qfa_tf.keras_models.site_values import SiteValues
from qfa_tf.keras_models.writer import NetworkWriter
from qfa_tf.network import Network
from quantize_configs.errors import UnsupportedError
from quantize_configs.keras3_bridge import as_tf_keras
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.layer_roles import UnsupportedLayerError
from quantize_configs.layers.kinds import LayerCall
from quantize_configs.model_graph import ModelGraph
from quantize_configs.rewriting import as_quantizable

BYTES_ABOVE = 16.0
"""Pixels that a model divides by more are bytes."""


class PixelRangeWarning(UserWarning):
    """A model is read for other pixels than it seems to be made for."""


@dataclasses.dataclass(frozen=True)
class ModelReading:
    """What a model is.

    Attributes:
      name: Of the model.
      network: All widths and sizes fixed, all bits 8, no slots.
      values: Trained values by site.
      logits: The model up to what `network` gives: without a softmax at its ends.
      pixel_range: See `read_model`.
    """

    name: str
    network: Network
    values: Mapping[str, SiteValues]
    logits: keras.Model
    pixel_range: tuple[float, float]


def read_model(model: keras.Model, pixel_range: tuple[float, float] = (0.0, 1.0)) -> ModelReading:
    """Reads a model; nothing is built or trained.

    The nodes are called as the layers of the model. A batch normalization and an activation that
    fold into a convolution belong to it; a normalization that stands alone is a depthwise 1x1
    convolution of its name. What does nothing at inference is left out, and a softmax at an end,
    because losses and teachers of a supernet take logits.

    Args:
      model: Functional or sequential model of `tf_keras` or Keras 3, with one input.
      pixel_range: What 0 and 1 of an image in this package are for the model; (0, 255) for a model
        of bytes. Without a Rescaling of its own the network gets one.

    Raises:
      InvalidTypeError, InvalidInputError: `model` is no built functional `tf_keras` model.
      UnsupportedError: A layer, or the way it is used, has no elastic counterpart; the sentence
        names it.
    """
    model = as_tf_keras(model)
    require_functional(model)
    _require_image(model)
    _refuse_rewritten(model)
    plain = as_quantizable(model)
    graph = ModelGraph(plain)
    _warn_of_bytes(graph, pixel_range)
    if tuple(pixel_range) != (0.0, 1.0) and not _rescales(graph):
        return read_model(of_unit_pixels(model, pixel_range))
    writer = NetworkWriter(graph, pixel_range)
    for call in graph.calls:
        try:
            reader = READERS[type(call.layer)]
        except KeyError:
            raise unsupported(call) from None
        reader(writer, call)
    network = writer.network(graph.outputs)
    ends = [plain.get_layer(writer.layer_of(name)).output for name in graph.outputs]
    logits = keras.Model(plain.input, ends if len(ends) > 1 else ends[0], name=model.name)
    return ModelReading(model.name, network, writer.values, logits, pixel_range)


def _rescales(graph: ModelGraph) -> bool:
    """Whether nothing but a Rescaling, which takes the range of the pixels in, reads the image."""
    readers = [call for name in graph.inputs for call in graph.readers(name)]
    return all(isinstance(call.layer, keras.layers.Rescaling) for call in readers)


def _warn_of_bytes(graph: ModelGraph, pixel_range: tuple[float, float]) -> None:
    """Warns where a model divides what it reads as bytes, and gets images from 0 to 1."""
    for reader in (call for name in graph.inputs for call in graph.readers(name)):
        if not isinstance(reader.layer, keras.layers.Rescaling) or max(pixel_range) > BYTES_ABOVE:
            continue
        scale = float(np.max(np.abs(reader.layer.scale)))
        if scale < 1.0 / BYTES_ABOVE:
            warnings.warn(
                f"The model begins with {reader.name!r}, which multiplies by {scale:.3g} as models "
                "of bytes do, but images of a supernet are from 0 to 1. Give pixel_range=(0, 255), "
                "to SearchSpace.from_model and to QFASupernet.from_model.",
                PixelRangeWarning,
                stacklevel=3,
            )


def unsupported(call: LayerCall) -> UnsupportedLayerError:
    """The refusal of a layer that no reader takes."""
    return _no_counterpart(call.name, type(call.layer))


def _no_counterpart(name: str, kind: type) -> UnsupportedLayerError:
    known = ", ".join(sorted(kind.__name__ for kind in READERS))
    return UnsupportedLayerError(
        f"Layer {name!r} is a {kind.__name__}, which no supernet has. A model becomes a supernet "
        f"when all its layers are some of: {known}."
    )


def _refuse_rewritten(model: keras.Model) -> None:
    """Refuses by their own names layers that quantization writes as several others."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Conv2DTranspose):
            raise _no_counterpart(layer.name, type(layer))


def _require_image(model: keras.Model) -> None:
    if len(model.inputs) != 1:
        raise UnsupportedError(
            f"The model {model.name!r} has {len(model.inputs)} inputs; a supernet has one, the "
            "image. Make a model of the image alone."
        )
    shape = model.inputs[0].shape[1:]
    if len(shape) != 3 or None in shape or shape[0] != shape[1]:
        raise UnsupportedError(
            f"The model {model.name!r} reads {tuple(shape)}; a supernet reads square images of a "
            "known size, (size, size, channels). Build the model with such an input shape and set "
            "its weights."
        )
