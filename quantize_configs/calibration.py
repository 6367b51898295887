"""Filling in the stored activation ranges of a quantized model."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.calibration_data import BATCH_SIZE, image_batches
from quantize_configs.elastic_quantizer import ElasticQuantizer
from quantize_configs.errors import InvalidInputError
from quantize_configs.forward import forward_function
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.post_training import improve
from quantize_configs.quantized_model import forget_deployment


def batch_quantizers(model: keras.Model) -> Iterator[tuple[ElasticQuantizer, dict]]:
    """The quantizers of activations that need a range, each with its variables."""
    for layer in model.layers:
        config = getattr(layer, "quantize_config", None)
        quantizer = getattr(config, "output_quantizer", None)
        if quantizer is not None and quantizer.needs_range:
            yield quantizer, layer._output_quantizer_vars


def calibrate(
    model: keras.Model,
    dataset: Any,
    batches: int | None = None,
    *,
    batch_size: int = BATCH_SIZE,
    correct_bias: bool = False,
    learn_rounding: bool = False,
    verbose: bool = True,
) -> int:
    """Measures the activation ranges of a quantized model and stores them in it.

    Every quantizer uses the range of each batch and stores the mean over all images. Batch
    normalization uses its moving averages. What was stored before is replaced; when the data
    ends in an error, it is put back.

    Args:
      model: Result of `quantize`, modified in place.
      dataset: Training images: an array, (images, labels), or batches of either (a list, a
        generator, a `tf.data.Dataset`), best in the training batch size. Several inputs come as a
        list. Labels are not used.
      batches: Most batches to read, all when None.
      batch_size: Of arrays.
      correct_bias: For a model that is not trained after `quantize`: each bias grows by the mean
        that the output of its layer has lost (Nagel et al., ICCV 2019).
      learn_rounding: For such a model, too: steps and codes of the weights become those with which
        the outputs of each layer are nearest to those of the float model, layer by layer (the aim
        of AdaRound and BRECQ), and biases are corrected. It matters below 8 bits. A few hundred
        images are enough; all of them are in memory at once.
      verbose: Whether to show a progress bar while learning.

    Returns:
      Number of images used.

    Raises:
      InvalidInputError: `model` has no quantizer that needs a range, or the data is empty or does
        not fit.
    """
    require_functional(model)
    variables = [weights for _, weights in batch_quantizers(model)]
    if not variables:
        raise InvalidInputError(
            f"The model {model.name!r} has no activation quantizer. Pass the result of quantize()."
        )
    forget_deployment(model)
    before = [weight.numpy() for weight in model.weights]
    keep = correct_bias or learn_rounding
    try:
        kept = _measure(model, variables, image_batches(model, dataset, batches, batch_size), keep)
        if keep:
            images = [np.concatenate(parts) for parts in zip(*kept.batches, strict=True)]
            bar = _Bar(verbose)
            improve(model, images, learn_rounding=learn_rounding, progress=bar)
            again = image_batches(model, images if len(images) > 1 else images[0], None, kept.size)
            _measure(model, variables, again, False)
    except BaseException:
        for weight, value in zip(model.weights, before, strict=True):
            weight.assign(value)
        raise
    return kept.count


@dataclasses.dataclass
class _Read:
    """What was read: number of images, images of the first batch, and batches where kept."""

    count: int = 0
    size: int = 0
    batches: list[list[np.ndarray]] = dataclasses.field(default_factory=list)


def _measure(model, variables, batches: Iterator[list[tf.Tensor]], keep: bool) -> _Read:
    """Stores the ranges of all quantizers."""
    forward, read = forward_function(model), _Read()
    for weights in variables:
        weights["samples"].assign(0.0)
        weights["accumulating"].assign(True)
    for images in batches:
        forward(images if len(images) > 1 else images[0])
        count = int(images[0].shape[0])
        read.count += count
        read.size = read.size or count
        if keep:
            read.batches.append([value.numpy() for value in images])
    if not read.count:
        raise InvalidInputError("The calibration data is empty. Give at least one batch of images.")
    for weights in variables:
        weights["accumulating"].assign(False)
    return read


class _Bar:
    """A progress bar of Keras over the layers with weights."""

    def __init__(self, verbose: bool):
        self._verbose = verbose
        self._bar: keras.utils.Progbar | None = None

    def __call__(self, done: int, count: int, name: str) -> None:
        if self._verbose:
            self._bar = self._bar or keras.utils.Progbar(count, unit_name="layer")
            self._bar.update(done)
