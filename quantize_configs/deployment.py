"""Moving a calibrated quantized model onto the grids that LiteRT can compute exactly.

Two roundings of deployment are made visible in Keras here, so that both compute the same:
biases are integers in units of input scale times weight scale, and an 8-bit tensor that is read
again through another quantizer has a scale of k/256 of the reader's, k an odd integer, which makes
XNNPACK's requantization exact.

XNNPACK rounds ties of that requantization upwards, and with odd k a tie can occur only at the code
128 above or 128 below the zero point. The scale is therefore moved off k/256 by a tiny part (far
too small to change k), in the direction in which Keras, too, rounds that one code upwards.

The weights of layers that are stored as float16 become, times the folded gain, such numbers.

The image behind a Rescaling is read on the grid of its bytes, code for code, where its first layer
has 8 bits. Where no byte stands for zero, as with `x / 127.5 - 1`, the offset of the Rescaling
moves by the fraction of a byte that is missing, and the bias of the first layer by as much in the
other direction: the same sums but for what a padding adds at the edges. Offsets that differ by
channel move to whole units of the bias of an integer convolution, 1/127 of a byte.

The range of any other 8-bit tensor is often that of integer sums, and its scale a simple fraction
of their unit, so that many sums would be ties. It is widened by a tiny part that moves them off.

Ranges that no kernel rounds to are widened first (`collapsed_ranges`).

Afterwards the layers compute, outside training, with integers (`integer_sums`), and Keras gives the
codes that LiteRT gives, with the kernels that the model is prepared for.
"""

import math

import numpy as np

from quantize_configs import integer_sums, weight_containers
from quantize_configs.bit_widths import WIDE_BITS
from quantize_configs.collapsed_ranges import widen_collapsed
from quantize_configs.float_folding import as_float16, channel_gain
from quantize_configs.folding import fold_linear, fused_tail, normalization_as_affine
from quantize_configs.grid_placement import TENSOR_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.kernels.registry import DEFAULT, check_container, find_kernels
from quantize_configs.layer_roles import Role
from quantize_configs.model_graph import LayerCall
from quantize_configs.quantized_model import (
    CONTAINER_ATTRIBUTE,
    RUNTIME_ATTRIBUTE,
    forget_deployment,
    forget_traces,
)
from quantize_configs.tensor_grids import grid_holder, is_identity
from quantize_configs.wrappers import WrappedModel

CODES_OF_8_BITS = 255
LARGEST_CODE = 127
TIE_NUDGE = 2.0**-18
WIDENING = 2.0**-14
MOST_FINER, MOST_COARSER = 2.0, 1.1
"""By which factors the grid of an image may differ from that of its bytes."""
MOST_UNITS, TIE_DISTANCE = 8, 1e-4
"""How far offsets of channels may move, and how far off the middle of two codes, in steps."""
WHOLE = 1e-3
"""How far from a whole number the byte may be that stands for zero."""


def prepare_for_deployment(
    model: keras.Model, weight_container: str = "auto", runtime: str = DEFAULT
) -> None:
    """Adjusts 8-bit ranges and biases of a calibrated quantized model in place.

    Ranges that have collapsed are widened to the narrowest that a kernel rounds to, with a
    `CollapsedRangeWarning`.

    Args:
      model: Result of `quantize`, trained and calibrated.
      weight_container: The one the model will be converted with (see `tflite_tools.convert`),
        which decides how fine the biases are. It stays with the model, and `convert` takes it.
      runtime: Kernels that the file will run on (see `tflite_tools.convert`), whose integers the
        model computes from now on. Ranges and biases fit all of them. It stays with the model, too.

    Raises:
      UncalibratedError: A range is missing.
      InvalidInputError: Unknown container or runtime.
    """
    find_kernels(runtime)
    weight_containers.check_policy(weight_container)
    check_container(runtime, weight_container)
    forget_deployment(model)
    wrapped = WrappedModel(model)
    widen_collapsed(wrapped)
    of_images = {_align_image(wrapped, name) for name in wrapped.graph.inputs}
    for name in wrapped.quantized_outputs():
        if name not in of_images:
            _align_range(wrapped, name)
    for call in wrapped.graph.calls:
        if call.role is not Role.LINEAR:
            continue
        if wrapped.float_bits(call.name) is None:
            _align_bias(wrapped, call, weight_container)
        elif wrapped.float_bits(call.name) == WIDE_BITS:
            _round_to_float16(wrapped, call)
    mark_prepared(model, weight_container, runtime)


def mark_prepared(model: keras.Model, weight_container: str, runtime: str = DEFAULT) -> None:
    """Says that ranges and biases of a model are those of deployment; its layers sum integers."""
    setattr(model, CONTAINER_ATTRIBUTE, weight_container)
    setattr(model, RUNTIME_ATTRIBUTE, runtime)
    integer_sums.deploy(WrappedModel(model, frozen=True), weight_container, runtime)
    forget_traces(model)


def prepared_runtime(model: keras.Model) -> str | None:
    """The `runtime` that a model was prepared for; None when it was not prepared."""
    return None if prepared_container(model) is None else getattr(model, RUNTIME_ATTRIBUTE, DEFAULT)


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


def _align_image(wrapped: WrappedModel, name: str) -> str | None:
    """Adjusts a Rescaling of bytes so that integers can compute it.

    Returns the layer whose 8-bit grid is that of the bytes now; None where none is.
    """
    rescaling = wrapped.graph.sole_reader(name)
    if rescaling is None or not isinstance(rescaling.layer, keras.layers.Rescaling):
        return None
    layer, found = rescaling.layer, grid_holder(wrapped, rescaling.name)
    if found is None:
        return None
    holder = found[0]
    scale, offset = (
        np.squeeze(np.asarray(value, np.float64)) for value in (layer.scale, layer.offset)
    )
    step, _, bits = wrapped.activation_grid(holder)
    finest = np.max(np.abs(scale)) * CODES_OF_8_BITS / (2**bits - 1)
    if not finest / MOST_FINER <= step <= finest * MOST_COARSER:
        return None  # the grid is much finer or coarser than that of bytes: these are none
    if scale.ndim or offset.ndim:
        pairs = zip(*np.broadcast_arrays(scale, offset), strict=True)
        layer.offset = [_whole_offset(one, other, step) for one, other in pairs]
        return None
    return _align_bytes(wrapped, rescaling, holder, float(scale), float(offset))


def _whole_offset(scale: float, offset: float, step: float) -> float:
    """The offset nearest to one of bytes that a sum of integers has, and that makes no ties.

    A convolution adds whole units, 1/127 of a byte each; byte * scale + offset, in steps of the
    grid, stays off the middle between two codes.
    """
    unit = scale / LARGEST_CODE
    values = np.arange(CODES_OF_8_BITS + 1) * scale
    near = round(offset / unit)
    for distance in sorted(range(-MOST_UNITS, MOST_UNITS + 1), key=abs):
        found = (near + distance) * unit
        middles = np.abs((values + found) / step % 1.0 - 0.5)
        if middles.min() > TIE_DISTANCE:
            return float(found)
    return float(near * unit)


def _align_bytes(
    wrapped: WrappedModel, rescaling: LayerCall, holder: str, scale: float, offset: float
) -> str | None:
    """Lets a byte stand for zero, and makes the grid of 8 bits that of the bytes."""
    zero = -offset / scale if scale > 0 else math.nan
    if not 0 <= zero <= CODES_OF_8_BITS:
        return None
    whole = round(zero)
    if abs(zero - whole) > WHOLE and not _move_offset(wrapped, rescaling, -whole * scale):
        return None
    quantizer = wrapped.output_quantizer(holder)
    if quantizer is None or not quantizer.needs_range:
        return None
    if wrapped.activation_grid(holder)[2] != TENSOR_BITS:
        return None
    variables = wrapped.output_variables(holder)
    variables["range_low"].assign(-whole * scale)
    variables["range_high"].assign((CODES_OF_8_BITS - whole) * scale)
    for role in quantizer.learned_values:
        variables[role].assign(np.zeros(variables[role].shape, np.float32))
    return holder


def _move_offset(wrapped: WrappedModel, rescaling: LayerCall, offset: float) -> bool:
    """Changes the offset of a Rescaling, and takes the difference out of the layer behind it.

    Returns whether that was possible: one layer reads it, and has a bias or a normalization.
    """
    reader = wrapped.graph.final_reader(rescaling.name)
    while reader is not None and is_identity(reader):
        reader = wrapped.graph.final_reader(reader.name)
    if reader is None or reader.role is not Role.LINEAR or wrapped.float_bits(reader.name):
        return False
    folded = fold_linear(wrapped, reader)
    depthwise = isinstance(reader.layer, keras.layers.DepthwiseConv2D)
    summed = (0, 1) if depthwise else tuple(range(folded.codes.ndim - 1))
    sums = folded.codes.sum(axis=summed).reshape(-1) * folded.scales
    difference = float(np.squeeze(rescaling.layer.offset)) - offset
    if not _add_to_bias(wrapped, reader, difference * sums / folded.output_gain):
        return False
    rescaling.layer.offset = offset
    return True


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
    _add_to_bias(wrapped, call, rounding)


def _add_to_bias(wrapped: WrappedModel, call: LayerCall, added: np.ndarray) -> bool:
    """Adds to what a linear layer and its normalization make, per channel; whether they can."""
    reader = wrapped.graph.sole_reader(call.name)
    if reader is not None and reader.role is Role.NORMALIZATION:
        layer = reader.layer
        if layer.center:
            layer.beta.assign(layer.beta.numpy() + added)
        else:
            gain, _ = normalization_as_affine(layer, 0.0)
            shift = np.divide(added, gain, out=np.zeros_like(gain), where=gain != 0)
            layer.moving_mean.assign(layer.moving_mean.numpy() - shift)
        return True
    if call.layer.use_bias:
        call.layer.bias.assign(call.layer.bias.numpy() + added)
    return bool(call.layer.use_bias)
