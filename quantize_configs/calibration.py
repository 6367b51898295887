"""Filling in the stored activation ranges of a quantized model."""

from collections.abc import Iterator
from typing import Any

from quantize_configs.bias_corrections import corrections_of, mark_untrained, take_back
from quantize_configs.calibration_data import BATCH_SIZE, ImageSample, image_batches
from quantize_configs.elastic_quantizer import ElasticQuantizer
from quantize_configs.errors import InvalidInputError
from quantize_configs.forward import forward_function
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.post_training import improve
from quantize_configs.quantized_model import forget_deployment, mark_trained

CORRECTION_IMAGES, LEARNING_IMAGES = 64, 256
"""Most images that biases are corrected with, and rounding is learned with."""


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
    correct_bias: bool | None = None,
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
      correct_bias: Whether each bias grows by the mean that the output of its layer has lost (Nagel
        et al., ICCV 2019), measured on up to 64 of the images. It is for a model that was not
        trained after `quantize`, and None does it for such a model. A later call with other images
        corrects anew.
      learn_rounding: For such a model, too: steps and codes of weights become those with which the
        outputs of each layer are nearest to those of the float model, layer by layer (the aim of
        AdaRound and BRECQ), and biases are corrected. A layer with 8 bits makes up for those before
        it, the last one of a residual branch also for the tensor beside it. Up to 256 of the images
        are used, and are in memory at once.
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
    known = corrections_of(model)
    if correct_bias is None:
        correct_bias = known is not None and _has_fixed_sizes(model)
    improves = correct_bias or learn_rounding
    sample = ImageSample(LEARNING_IMAGES if learn_rounding else CORRECTION_IMAGES)
    before = [weight.numpy() for weight in model.weights]
    try:
        take_back(model, known)
        read = image_batches(model, dataset, batches, batch_size)
        count = _measure(model, variables, read, sample if improves else None)
        offsets = {}
        if improves:
            images = sample.images()
            bar = _Bar(verbose and learn_rounding)
            offsets = improve(model, images, learn_rounding=learn_rounding, progress=bar)
            again = image_batches(model, images if len(images) > 1 else images[0], None, batch_size)
            _measure(model, variables, again, None)
    except BaseException:
        for weight, value in zip(model.weights, before, strict=True):
            weight.assign(value)
        raise
    if learn_rounding:  # the weights are those of the integers now
        mark_trained(model)
    elif improves or known is not None:
        mark_untrained(model, offsets)
    return count


def _has_fixed_sizes(model: keras.Model) -> bool:
    return all(None not in tensor.shape[1:] for tensor in model.inputs)


def _measure(model, variables, batches, sample: ImageSample | None) -> int:
    """Stores the ranges of all quantizers; returns how many images there were."""
    forward, count = forward_function(model), 0
    for weights in variables:
        weights["samples"].assign(0.0)
        weights["accumulating"].assign(True)
    for images in batches:
        forward(images if len(images) > 1 else images[0])
        count += int(images[0].shape[0])
        if sample is not None:
            sample.add([value.numpy() for value in images])
    if not count:
        raise InvalidInputError("The calibration data is empty. Give at least one batch of images.")
    for weights in variables:
        weights["accumulating"].assign(False)
    return count


class _Bar:
    """A progress bar of Keras over the layers with weights."""

    def __init__(self, verbose: bool):
        self._verbose = verbose
        self._bar: keras.utils.Progbar | None = None

    def __call__(self, done: int, count: int, name: str) -> None:
        if self._verbose:
            self._bar = self._bar or keras.utils.Progbar(count, unit_name="layer")
            self._bar.update(done)
