"""Moving a calibrated quantized model onto the grids that LiteRT can compute exactly.

Two roundings of deployment are made visible in Keras here, so that both compute the same:
biases are integers in units of input scale times weight scale, and an 8-bit tensor that is read
again through another quantizer has a scale of k/256 of the reader's, k an odd integer, which makes
XNNPACK's requantization exact.

XNNPACK rounds ties of that requantization upwards, and with odd k a tie can occur only at the code
128 above or 128 below the zero point. The scale is therefore moved off k/256 by a tiny part (far
too small to change k), in the direction in which Keras, too, rounds that one code upwards.

The weights of layers that are stored as float16 become, times the folded gain, such numbers.

The range of any other 8-bit tensor is often that of integer sums, and its scale a simple fraction
of their unit, so that many sums would be ties. It is widened by a tiny part that moves them off.

Afterwards the layers compute, outside training, with integers (`integer_sums`), and Keras gives the
codes that LiteRT gives.
"""

import math

import numpy as np

from quantize_configs import integer_sums, weight_containers
from quantize_configs.bit_widths import WIDE_BITS
from quantize_configs.float_folding import as_float16, channel_gain
from quantize_configs.folding import fold_linear, fused_tail, normalization_as_affine
from quantize_configs.grid_placement import TENSOR_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role
from quantize_configs.quantized_model import (
    CONTAINER_ATTRIBUTE,
    forget_deployment,
    forget_traces,
)
from quantize_configs.wrappers import WrappedModel

CODES_OF_8_BITS = 255
TIE_NUDGE = 2.0**-18
WIDENING = 2.0**-14


def prepare_for_deployment(model: keras.Model, weight_container: str = "auto") -> None:
    """Adjusts 8-bit ranges and biases of a calibrated quantized model in place.

    Args:
      model: Result of `quantize`, trained and calibrated.
      weight_container: The one the model will be converted with (see `tflite_tools.convert`),
        which decides how fine the biases are. It stays with the model, and `convert` takes it.

    Raises:
      UncalibratedError: A range is missing.
      ValueError: Unknown container.
    """
    weight_containers.check_policy(weight_container)
    forget_deployment(model)
    wrapped = WrappedModel(model)
    for name in wrapped.quantized_outputs():
        _align_range(wrapped, name)
    for call in wrapped.graph.calls:
        if call.role is not Role.LINEAR:
            continue
        if wrapped.float_bits(call.name) is None:
            _align_bias(wrapped, call, weight_container)
        elif wrapped.float_bits(call.name) == WIDE_BITS:
            _round_to_float16(wrapped, call)
    mark_prepared(model, weight_container)


def mark_prepared(model: keras.Model, weight_container: str) -> None:
    """Says that ranges and biases of a model are those of deployment; its layers sum integers."""
    setattr(model, CONTAINER_ATTRIBUTE, weight_container)
    integer_sums.deploy(WrappedModel(model, frozen=True), weight_container)
    forget_traces(model)


def prepared_container(model: keras.Model) -> str | None:
    """The `weight_container` that a model was prepared for; None when it was not prepared."""
    return getattr(model, CONTAINER_ATTRIBUTE, None)


def reader_steps(wrapped: WrappedModel, name: str) -> list[float]:
    """Steps of the quantizers that read a tensor, through layers that keep its grid."""
    steps = []
    for reader in wrapped.graph.readers(name):
        if reader.role is Role.PASSING:
            steps += reader_steps(wrapped, reader.name)
        elif wrapped.output_quantizer(reader.name) and _is_input(wrapped, reader.name):
            step, _, bits = wrapped.activation_grid(reader.name)
            steps += [step] if bits <= TENSOR_BITS else []  # the others are read through float32
    return steps


def _is_input(wrapped: WrappedModel, name: str) -> bool:
    """Whether a layer holds the grid on which a linear layer reads its input."""
    return any(reader.role is Role.LINEAR for reader in wrapped.graph.readers(name))


def _align_range(wrapped: WrappedModel, name: str) -> None:
    """Widens the range of an 8-bit tensor, to k/256 of its reader's step where one reads it."""
    step, zero_point, bits = wrapped.activation_grid(name)
    quantizer = wrapped.output_quantizer(name)
    if bits != TENSOR_BITS or (quantizer is not None and quantizer.learned):
        return
    steps = reader_steps(wrapped, name)
    if steps:
        k = math.ceil(256 * step / steps[0] * (1.0 - 2.0 * TIE_NUDGE))  # k stays when called again
        k += 1 - k % 2
        aligned = steps[0] * k / 256
        zero_point = round(zero_point * step / aligned)
        # Codes reach 128 above a zero point in the lower half of [0, 255], 128 below one above.
        aligned *= 1.0 + (TIE_NUDGE if zero_point < 128 else -TIE_NUDGE)
    else:
        aligned = step * (1.0 + WIDENING)
    variables = wrapped.output_variables(name)
    low = -zero_point * aligned
    variables["range_low"].assign(low)
    variables["range_high"].assign(low + CODES_OF_8_BITS * aligned)


def _round_to_float16(wrapped: WrappedModel, call) -> None:
    """Moves the weight of a layer so that, times the folded gain, it is a float16."""
    weight = wrapped.kernel(call.name)
    gain = channel_gain(weight, fused_tail(wrapped, call).gain)
    rounded = as_float16(weight.numpy() * gain, call.name).astype(np.float64)
    weight.assign(np.divide(rounded, gain, out=weight.numpy().astype(np.float64), where=gain != 0))


def _align_bias(wrapped: WrappedModel, call, weight_container: str) -> None:
    """Rounds the folded bias of a layer to whole units of its accumulator."""
    folded = fold_linear(wrapped, call)
    container = weight_containers.choose(folded, weight_container)
    unit = weight_containers.bias_units(folded, container)
    rounding = ((folded.bias / unit).round() * unit - folded.bias) / folded.output_gain
    reader = wrapped.graph.sole_reader(call.name)
    if reader is not None and reader.role is Role.NORMALIZATION:
        layer = reader.layer
        if layer.center:
            layer.beta.assign(layer.beta.numpy() + rounding)
        else:
            gain, _ = normalization_as_affine(layer, 0.0)
            shift = np.divide(rounding, gain, out=np.zeros_like(gain), where=gain != 0)
            layer.moving_mean.assign(layer.moving_mean.numpy() - shift)
    elif call.layer.use_bias:
        call.layer.bias.assign(call.layer.bias.numpy() + rounding)
