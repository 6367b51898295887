"""How much the loss of a model suffers when one layer's weights get fewer bits."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf

from quantize_configs.bit_widths import QUANTIZED_BITS
from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import WEIGHT_ATTRIBUTES, Role
from quantize_configs.model_graph import ModelGraph
from quantize_configs.rewriting import as_quantizable

FULL_BITS = 8
_STEP_CANDIDATES = 40


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
    data: Iterable,
    *,
    loss: "keras.losses.Loss | str | None" = None,
    bits: Iterable[int] = (2, 3, 4),
) -> Sensitivity:
    """Measures the loss of a float model with the weights of one layer at a time quantized.

    Weights are rounded with the step of least squared error; all others have 8 bits, activations
    stay in float. The model is as it was afterwards.

    Args:
      model: Functional or sequential float model.
      data: Batches (images, labels), read once; a few hundred images are enough for a ranking.
      loss: Keras loss or its name; by default the one the model was compiled with.
      bits: Weight bits to try, below 8.

    Raises:
      TypeError, ValueError: The arguments do not fit.
      UnsupportedLayerError: A layer has no quantized counterpart.
    """
    graph = ModelGraph(as_quantizable(model))
    bits = _checked_bits(bits)
    loss_of = _loss_of(model, loss)
    batches = [(tf.convert_to_tensor(images), labels) for images, labels in data]
    if not batches:
        raise InvalidInputError("The data is empty. Give at least one batch (images, labels).")
    names = [call.name for call in graph.calls if call.role is Role.LINEAR]
    if not names:
        raise InvalidInputError(f"The model {model.name!r} has no layer that takes bits.")
    kernels = {name: _kernel(model.get_layer(name)) for name in names}
    forward = tf.function(lambda images: model(images, training=False), reduce_retracing=True)

    def measured() -> float:
        losses = [
            float(tf.reduce_mean(loss_of(labels, forward(images)))) for images, labels in batches
        ]
        sizes = [len(images) for images, _ in batches]
        return float(np.average(losses, weights=sizes))

    originals = {name: kernel.numpy() for name, kernel in kernels.items()}
    try:
        for name, kernel in kernels.items():
            kernel.assign(rounded(originals[name], FULL_BITS))
        base = measured()
        increases: dict[str, dict[int, float]] = {}
        for name, kernel in kernels.items():
            increases[name] = {}
            for number in bits:
                kernel.assign(rounded(originals[name], number))
                increases[name][number] = measured() - base
            kernel.assign(rounded(originals[name], FULL_BITS))
    finally:
        for name, kernel in kernels.items():
            kernel.assign(originals[name])
    return Sensitivity(base, increases)


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """`values` on the symmetric grid of `bits` with the step of least squared error, float32."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    low = max(low, -127)
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0:
        return values
    candidates = largest / high * np.linspace(0.15, 1.0, _STEP_CANDIDATES)
    grids = (np.clip(np.rint(values / step), low, high) * step for step in candidates)
    return min(grids, key=lambda grid: float(np.sum((grid - values) ** 2))).astype(np.float32)


def _kernel(layer) -> tf.Variable:
    return getattr(layer, WEIGHT_ATTRIBUTES[type(layer)])


def _checked_bits(bits) -> tuple[int, ...]:
    bits = tuple(bits)
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
