"""How much the loss of a model suffers when one layer's weights get fewer bits."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.bit_widths import QUANTIZED_BITS
from quantize_configs.calibration_data import BATCH_SIZE, image_batches
from quantize_configs.distillation import noise_share
from quantize_configs.errors import InvalidInputError, InvalidTypeError
from quantize_configs.keras3_bridge import as_tf_keras
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import WEIGHT_ATTRIBUTES, WEIGHT_CHANNEL_AXES, Role
from quantize_configs.lsq_quantizer import LSQQuantizer
from quantize_configs.model_graph import ModelGraph
from quantize_configs.rewriting import as_quantizable

FULL_BITS = 8


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """Result of `sensitivity`.

    Attributes:
      loss: Of the model with 8-bit weights.
      increases: By layer and weight bits, by how much the loss grows.
    """

    loss: float
    increases: Mapping[str, Mapping[int, float]]

    def ranking(self) -> list[tuple[str, float]]:
        """(layer, loss increase per bit removed), the most sensitive layer first.

        Of the bit-widths measured, the one with the largest increase per bit counts.
        """
        per_bit = {
            name: max(increase / (FULL_BITS - bits) for bits, increase in measured.items())
            for name, measured in self.increases.items()
        }
        return sorted(per_bit.items(), key=lambda item: (-item[1], item[0]))

    def __str__(self):
        width = max(len(name) for name in self.increases)
        lines = [f"loss with 8-bit weights {self.loss:.4f}; increase per bit removed:"]
        lines += [f"  {name:<{width}}  {value:+.5f}" for name, value in self.ranking()]
        return "\n".join(lines)


def sensitivity(
    model: keras.Model,
    data: Any,
    *,
    loss: "keras.losses.Loss | str | None" = None,
    bits: Iterable[int] = (2, 3, 4),
    verbose: bool = False,
) -> Sensitivity:
    """Measures what a float model loses with the weights of one layer at a time quantized.

    Weights are quantized as `quantize` does it by default; all others have 8 bits, activations
    stay in float. The model is as it was afterwards.

    Args:
      model: Functional or sequential float model of `tf_keras` or Keras 3.
      data: Batches (images, labels), or images without labels (batches or an array), read once; a
        few hundred images are enough for a ranking.
      loss: Keras loss or its name; by default the one the model was compiled with. Without labels
        the loss is the squared error of the outputs of the float model, as a share of their
        square (-10 log10 of it is the signal-to-noise ratio in dB), and no other can be given.
      bits: Weight bits to try, below 8.
      verbose: Whether to show a progress bar.

    Raises:
      TypeError, ValueError: The arguments do not fit.
      UnsupportedLayerError: A layer has no quantized counterpart.
    """
    given = as_tf_keras(model)
    model = as_quantizable(given)  # itself, or a copy with split and taken-apart layers
    graph = ModelGraph(model)
    bits = _checked_bits(bits)
    forward = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    batches, is_labelled = _read(model, data, forward)
    if not batches:
        raise InvalidInputError("The data is empty. Give at least one batch of images.")
    loss_of: Callable
    if is_labelled:
        loss_of = _loss_of(given, loss)
    elif loss is not None:
        raise InvalidInputError("A loss needs labels. Give batches (images, labels), or no loss.")
    else:
        loss_of = noise_share
    names = [call.name for call in graph.calls if call.role is Role.LINEAR]
    if not names:
        raise ValueError(f"The model {model.name!r} has no layer that takes bits.")
    axes = {name: WEIGHT_CHANNEL_AXES[type(model.get_layer(name))] for name in names}
    bar = keras.utils.Progbar(len(names), unit_name="layer") if verbose else None
    kernels = {name: _kernel(model.get_layer(name)) for name in names}

    def measured() -> float:
        losses = [
            float(tf.reduce_mean(loss_of(labels, forward(images)))) for images, labels in batches
        ]
        sizes = [len(images) for images, _ in batches]
        return float(np.average(losses, weights=sizes))

    originals = {name: kernel.numpy() for name, kernel in kernels.items()}
    try:
        for name, kernel in kernels.items():
            kernel.assign(rounded(originals[name], FULL_BITS, axes[name]))
        base = measured()
        increases: dict[str, dict[int, float]] = {}
        for name, kernel in kernels.items():
            increases[name] = {}
            for number in bits:
                kernel.assign(rounded(originals[name], number, axes[name]))
                increases[name][number] = measured() - base
            kernel.assign(rounded(originals[name], FULL_BITS, axes[name]))
            if bar is not None:
                bar.update(len(increases))
    finally:
        for name, kernel in kernels.items():
            kernel.assign(originals[name])
    return Sensitivity(base, increases)


def rounded(values: np.ndarray, bits: int, channel_axes: tuple[int, ...] = ()) -> np.ndarray:
    """`values` as a quantizer of `quantize` starts with them, float32.

    Args:
      values: Weight.
      bits: 2 to 8.
      channel_axes: Axes with steps of their own, see `LSQQuantizer`.
    """
    quantizer = LSQQuantizer(bits, channel_axes=channel_axes, start_rule="least_error")
    (steps,) = quantizer.initial_steps(values)
    codes = np.clip(np.rint(values / steps), *quantizer.limits(bits))
    return (codes * steps).astype(np.float32)


def _read(model, data, forward) -> tuple[list, bool]:
    """Batches (images, labels), or (images, outputs of the float model); and which of both."""
    if isinstance(data, np.ndarray | tf.Tensor):
        data = (images for (images,) in image_batches(model, data))
    elif isinstance(data, tuple):
        images, labels = data
        starts = range(0, len(images), BATCH_SIZE)
        data = ((images[s : s + BATCH_SIZE], labels[s : s + BATCH_SIZE]) for s in starts)
    if not isinstance(data, Iterable):
        raise InvalidTypeError(
            "data must be images, a pair (images, labels), or batches of either. "
            f"Received: {data!r:.200}"
        )
    read: list = []
    labelled = False
    for batch in data:
        labelled = isinstance(batch, tuple | list) and len(batch) > 1 and batch[1] is not None
        images = tf.convert_to_tensor(batch[0] if isinstance(batch, tuple | list) else batch)
        read.append((images, batch[1] if labelled else forward(images)))
    return read, labelled


def _kernel(layer) -> tf.Variable:
    return getattr(layer, WEIGHT_ATTRIBUTES[type(layer)])


def _checked_bits(bits) -> tuple[int, ...]:
    bits = tuple(bits) if isinstance(bits, Iterable) else (bits,)
    if not bits or any(number not in QUANTIZED_BITS[:-1] for number in bits):
        raise InvalidInputError(
            f"bits must be one or several of {QUANTIZED_BITS[:-1]}. Received: {bits!r}."
        )
    return bits


def _loss_of(model, loss) -> Callable:
    loss = loss if loss is not None else getattr(model, "loss", None)
    if loss is None:
        raise InvalidInputError(
            f"The model {model.name!r} is not compiled, so its loss is unknown. Pass loss=, for "
            "example keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )
    return keras.losses.get(loss)
