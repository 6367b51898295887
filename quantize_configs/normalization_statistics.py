"""Measuring the statistics of batch normalization anew."""

from typing import Any

import tensorflow as tf

from quantize_configs.calibration_data import BATCH_SIZE, image_batches
from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import MERGING_LAYERS, Role
from quantize_configs.model_graph import ModelGraph
from quantize_configs.quantized_model import mark_trained, ranges_of_batches


def recalibrate_normalization(
    model: keras.Model, data: Any, batches: int | None = None, *, batch_size: int = BATCH_SIZE
) -> int:
    """Replaces the moving averages of a model by the means over batches of training images.

    Quantization shifts what normalization sees, and few steps of training leave moving averages
    behind the weights. Nothing else is changed, and dropout is off. Calibrate ranges afterwards.

    Args:
      model: Functional model, quantized or not; modified in place. Frozen normalizations stay.
      data: See `calibrate`.
      batches: Most batches to read, all when None.
      batch_size: Of arrays.

    Returns:
      Number of images used.

    Raises:
      InvalidInputError: The model has no batch normalization, or the data is empty or does not fit.
    """
    graph = ModelGraph(model)
    norms = [call.layer for call in graph.calls if call.role is Role.NORMALIZATION]
    if not norms:
        raise InvalidInputError(f"The model {model.name!r} has no batch normalization.")
    mark_trained(model)
    momenta = [layer.momentum for layer in norms]
    names = [tensor._keras_history.layer.name for tensor in model.inputs]
    count = 0
    try:
        with ranges_of_batches(model):
            for number, images in enumerate(image_batches(model, data, batches, batch_size)):
                for layer in norms:
                    layer.momentum = number / (number + 1.0)  # the plain mean over batches
                _run(graph, dict(zip(names, images, strict=True)))
                count += int(images[0].shape[0])
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
    if not count:
        raise InvalidInputError("The data is empty. Give at least one batch of images.")
    return count


def _run(graph: ModelGraph, values: dict[str, tf.Tensor]) -> None:
    """Runs a model eagerly, its normalizations as in training and all else as outside of it."""
    unread = {call.name: len(graph.readers(call.name)) for call in graph.calls}
    for call in graph.calls:
        if call.role is not Role.INPUT:
            arguments: Any = [values[name] for name in call.inputs]
            arguments = arguments if isinstance(call.layer, MERGING_LAYERS) else arguments[0]
            takes_training = call.owner._expects_training_arg
            options = {"training": call.role is Role.NORMALIZATION} if takes_training else {}
            values[call.name] = call.owner(arguments, **options)
        for name in call.inputs:
            unread[name] -= 1
            if not unread[name]:
                del values[name]
