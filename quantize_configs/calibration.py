"""Filling in the stored activation ranges of a quantized model."""

from collections.abc import Iterable, Iterator

import tensorflow as tf

from quantize_configs.elastic_quantizer import ElasticQuantizer
from quantize_configs.errors import InvalidInputError
from quantize_configs.forward import forward_function
from quantize_configs.keras_backend import keras, require_functional


def batch_quantizers(model: keras.Model) -> Iterator[tuple[ElasticQuantizer, dict]]:
    """The quantizers of activations that need a range, each with its variables."""
    for layer in model.layers:
        config = getattr(layer, "quantize_config", None)
        quantizer = getattr(config, "output_quantizer", None)
        if quantizer is not None and quantizer.needs_range:
            yield quantizer, layer._output_quantizer_vars


def calibrate(model: keras.Model, dataset: Iterable, batches: int | None = None) -> int:
    """Measures the activation ranges of a quantized model and stores them in it.

    Every quantizer uses the range of each batch and stores the mean over all images. Batch
    normalization uses its moving averages. What was stored before is replaced; when the data
    ends in an error, it is put back.

    Args:
      model: Result of `quantize`, modified in place.
      dataset: Batches of images or of (images, labels, ...); training images, in batches of the
        training batch size. Several inputs come as a list inside the tuple.
      batches: Most batches to read, all when None.

    Returns:
      Number of images used.

    Raises:
      InvalidInputError: `model` has no BatchQuantizer, or `dataset` is empty.
    """
    require_functional(model)
    variables = [weights for _, weights in batch_quantizers(model)]
    if not variables:
        raise InvalidInputError(
            f"The model {model.name!r} has no activation quantizer. Pass the result of quantize()."
        )
    before = [{role: weight.numpy() for role, weight in weights.items()} for weights in variables]
    forward = forward_function(model)
    count = 0
    try:
        for weights in variables:
            weights["samples"].assign(0.0)
            weights["accumulating"].assign(True)
        for number, batch in enumerate(dataset):
            if number == batches:
                break
            images = batch[0] if isinstance(batch, tuple | list) else batch
            images = tf.nest.map_structure(tf.convert_to_tensor, images)
            forward(images)
            count += int(tf.nest.flatten(images)[0].shape[0])
        if not count:
            raise InvalidInputError(
                "The calibration data is empty. Give at least one batch of images."
            )
    except BaseException:
        for weights, stored in zip(variables, before, strict=True):
            for role, value in stored.items():
                weights[role].assign(value)
        raise
    for weights in variables:
        weights["accumulating"].assign(False)
    return count
