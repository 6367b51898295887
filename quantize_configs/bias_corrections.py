"""What calibration has added to the biases of a model, and whether the model was trained since.

A bias is corrected for what the layer's output has lost by quantization, measured against the
weights that `quantize` found. After training these are only what the integers are rounded from, so
there is nothing to compare with, and what was added is part of what was trained.
"""

import dataclasses
import zlib

import numpy as np

from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role
from quantize_configs.model_graph import LayerCall
from quantize_configs.quantized_model import CORRECTIONS_ATTRIBUTE
from quantize_configs.wrappers import WrappedModel


@dataclasses.dataclass(frozen=True)
class Corrections:
    """State of a model that was not trained after `quantize`.

    Attributes:
      fingerprint: Of the weights as `quantize` left them, see `fingerprint`.
      offsets: By linear layer, what was added to its output: float32 [channels].
    """

    fingerprint: int
    offsets: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def fingerprint(model: keras.Model) -> int:
    """A checksum of everything that training changes and calibration does not.

    These are the quantized weights, their steps, and the gains of normalizations.
    """
    wrapped = WrappedModel(model)
    value = 0
    for call in wrapped.graph.calls:
        variables = []
        if call.role is Role.LINEAR and wrapped.is_quantized(call.name):
            variables = [wrapped.weight(call.name), *wrapped.weight_variables(call.name).values()]
        elif call.role is Role.NORMALIZATION and call.layer.scale:
            variables = [call.layer.gamma]
        for variable in variables:
            value = zlib.crc32(variable.numpy().tobytes(), value)
    return value


def mark_untrained(model: keras.Model, offsets: dict[str, np.ndarray] | None = None) -> None:
    """Says that a model has the weights of the float model, and what its biases have gained.

    Args:
      model: Result of `quantize`.
      offsets: See `Corrections`.
    """
    setattr(model, CORRECTIONS_ATTRIBUTE, Corrections(fingerprint(model), offsets or {}))


def corrections_of(model: keras.Model) -> Corrections | None:
    """State of a model that was not trained after `quantize`; None for any other."""
    found = getattr(model, CORRECTIONS_ATTRIBUTE, None)
    return found if found is not None and found.fingerprint == fingerprint(model) else None


def add_offset(wrapped: WrappedModel, call: LayerCall, offset: np.ndarray) -> str | None:
    """Adds to what a linear layer puts out; says where: "bias", "normalization" or None."""
    if call.layer.use_bias:
        call.layer.bias.assign_add(offset)
        return "bias"
    reader = wrapped.graph.sole_reader(call.name)
    if reader is not None and reader.role is Role.NORMALIZATION:
        reader.layer.moving_mean.assign_sub(offset)
        return "normalization"
    return None


def take_back(model: keras.Model, corrections: Corrections | None) -> None:
    """Undoes the corrections of a model."""
    if corrections is None or not corrections.offsets:
        return
    wrapped = WrappedModel(model)
    for name, offset in corrections.offsets.items():
        add_offset(wrapped, wrapped.graph.by_name[name], -offset)
