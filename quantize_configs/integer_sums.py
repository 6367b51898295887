"""A deployed model outside training: sums of integer codes, rounded as XNNPACK rounds them.

Fake quantization adds floats. Each sum is off by some millionths, now and then one is rounded to
the neighbouring code, and a deep network makes many differing codes of a few. Here the layers of a
prepared model add the codes themselves. Codes and their sums are exact in float32 below 2^24; a
layer whose sums may be larger adds parts of its channels, and these as int32. The result is
rounded once, by the formulas of XNNPACK (src/microparams-init.c, src/operators/reduce-nd.c), onto
the grid that the device writes.

What has another type on the device (16-bit activations, layers in float, functions between two
grids) is computed as in fake quantization.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs import weight_containers
from quantize_configs.folding import FoldedLinear, fold_linear
from quantize_configs.grid_placement import TENSOR_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role, activation_of
from quantize_configs.linear_products import products_of
from quantize_configs.model_graph import LayerCall
from quantize_configs.quantized_model import LayerWrapper
from quantize_configs.tensor_grids import Grid, read_grid, written_grid
from quantize_configs.wrappers import WrappedModel

EXACT_IN_FLOAT32 = 1 << 24
INT8_LOW, INT8_HIGH = -128, 127
LIMITS = {
    "linear": (-math.inf, math.inf),
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "hard_sigmoid": (-1.0, 1.0),  # saturation of an 8-bit grid is its clamp at 0
}
"""Of the activations that integer operators fuse, as real values."""

Function = Callable[[Any], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Target:
    """The INT8 tensor that an operator writes: its grid, with the top code at 127, and limits."""

    grid: Grid
    activation: str = "linear"

    @property
    def step(self) -> np.float32:
        """Step of the grid."""
        return np.float32(self.grid[0])

    @property
    def zero_point(self) -> int:
        """Code of zero in the tensor."""
        _, zero_point, bits = self.grid
        return INT8_HIGH - (2**bits - 1) + zero_point

    def values(self, codes: tf.Tensor) -> tf.Tensor:
        """The real values of float32 codes, which count from the zero point, after the limits."""
        low, high = (
            np.rint(np.clip(np.float32(limit) / self.step + np.float32(self.zero_point), *_INT8))
            for limit in LIMITS[self.activation]
        )
        zero_point = np.float32(self.zero_point)
        return tf.clip_by_value(codes, low - zero_point, high - zero_point) * self.step


_INT8 = (INT8_LOW, INT8_HIGH)


def deploy(wrapped: WrappedModel, weight_container: str) -> None:
    """Makes all layers of a model compute, outside training, as the device does.

    Args:
      wrapped: A model whose ranges and biases are those of deployment.
      weight_container: See `prepare_for_deployment`.
    """
    with tf.init_scope():
        for call in wrapped.graph.calls:
            if isinstance(call.owner, LayerWrapper):
                call.owner.deployed = None
        for call in wrapped.graph.calls:
            if isinstance(call.owner, LayerWrapper):
                _deploy_call(wrapped, call, weight_container)


def _deploy_call(wrapped: WrappedModel, call: LayerCall, weight_container: str) -> None:
    if call.role is Role.LINEAR:
        if wrapped.float_bits(call.name) is not None:
            return
        folded = fold_linear(wrapped, call)
        target = _target(wrapped, folded.output, folded.activation)
        if target is None or folded.input_bits > TENSOR_BITS:
            return
        container = weight_containers.choose(folded, weight_container)
        output, function = folded.output, _linear(folded, container, target)
    elif maker := _ARITHMETIC.get(type(call.layer)):
        activation, output = _fused_activation(wrapped, call)
        target = _target(wrapped, output, activation)
        sources = [read_grid(wrapped, name) for name in call.inputs]
        if target is None or any(source is None for source in sources):
            return
        if any(source[2] > TENSOR_BITS for source in sources if source):
            return
        made = maker(call, [source for source in sources if source], target)
        if made is None:
            return
        function = made
    else:
        return
    call.owner.deployed = function
    for follower in _followers(wrapped, call.name, output):
        follower.deployed = tf.identity


def _target(wrapped: WrappedModel, name: str, activation: str) -> Target | None:
    written = written_grid(wrapped, name)
    if written is None or written[0][2] > TENSOR_BITS:
        return None
    return Target(written[0], activation)


def _fused_activation(wrapped: WrappedModel, call: LayerCall) -> tuple[str, str]:
    """(name of the activation that is fused into an operation, name of what it makes)."""
    reader = wrapped.graph.sole_reader(call.name)
    if reader is not None and reader.role is Role.ACTIVATION:
        name = activation_of(reader.layer)
        if name != "linear":
            return name, reader.name
    return "linear", call.name


def _followers(wrapped: WrappedModel, name: str, output: str) -> list[LayerWrapper]:
    """The wrappers of what is fused into a layer."""
    found = []
    while name != output:
        reader = wrapped.graph.sole_reader(name)
        assert reader is not None  # a fused chain has one reader after the other
        name = reader.name
        found.append(reader.owner)
    return found


def _codes(x: tf.Tensor, step: float) -> tf.Tensor:
    """Codes of values on a grid, counted from zero: float32."""
    return tf.round(x / np.float32(step))


# Operators with weights.


def _linear(folded: FoldedLinear, container: str, target: Target) -> Function:
    """rint(f32(sum) * (sx * sw[c] / sy)), as XNNPACK's requantization."""
    factor = weight_containers.code_factor(folded, container)
    spread = weight_containers.input_factor(folded, container)
    scales = (folded.scales / factor).astype(np.float32)
    step = np.float32(folded.input_scale) / np.float32(spread)
    unit = np.float64(step) * scales.astype(np.float64)
    bias = tf.constant(np.round(folded.bias / unit).astype(np.int32))
    multipliers = tf.constant(step * scales / target.step)
    products = _products(folded)

    def run(x: tf.Tensor) -> tf.Tensor:
        sums = products(_codes(x, folded.input_scale)) * (factor * spread) + bias
        return target.values(tf.round(tf.cast(sums, tf.float32) * multipliers))

    return run


def _products(folded: FoldedLinear) -> Function:
    """From float32 codes to int32 sums, by the kernel of the layer."""
    layer = folded.call.layer
    largest = 2**folded.input_bits - 1
    codes = folded.codes
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    by_input = np.abs(codes).astype(np.int64)
    if not depthwise:
        by_input = by_input.reshape(-1, *codes.shape[-2:]).sum(0)  # [input, output channels]
    kernel = products_of(layer)
    grouped = getattr(layer, "groups", 1) > 1
    total = by_input.reshape(-1, *codes.shape[-2:]).sum(0) if depthwise else by_input.sum(0)
    if depthwise or grouped or int(total.max()) * largest < EXACT_IN_FLOAT32:
        exact = tf.float32 if int(total.max()) * largest < EXACT_IN_FLOAT32 else tf.float64
        stored = tf.constant(codes.astype(np.int8))
        return lambda x: tf.cast(kernel(tf.cast(x, exact), tf.cast(stored, exact)), tf.int32)
    ends = _parts(by_input, EXACT_IN_FLOAT32 // largest)
    parts = [
        (start, end, tf.constant(codes[..., start:end, :].astype(np.int8)))
        for start, end in zip((0, *ends), (*ends, codes.shape[-2]), strict=False)
    ]

    def run(x: tf.Tensor) -> tf.Tensor:
        sums = [
            tf.cast(kernel(x[..., start:end], tf.cast(part, tf.float32)), tf.int32)
            for start, end, part in parts
        ]
        return tf.add_n(sums)

    return run


def _parts(by_input: np.ndarray, most: int) -> tuple[int, ...]:
    """Where to cut the input channels so that the codes of no part sum up to more than `most`."""
    ends: list[int] = []
    total = np.zeros(by_input.shape[1], np.int64)
    for channel, added in enumerate(by_input):
        if int((total + added).max()) >= most and total.any():
            ends.append(channel)
            total = np.zeros_like(total)
        total = total + added
    return tuple(ends)


# Operators without.


def _add(call: LayerCall, sources: Sequence[Grid], target: Target) -> Function | None:
    """Common fixed-point multipliers of about 20 bits, one rounding, half up."""
    ratios = [np.float32(step) / target.step for step, _, _ in sources]
    shift = 20 - (math.frexp(float(max(ratios)))[1] - 1)
    if shift < 1:
        return None
    multipliers = [int(np.rint(np.ldexp(ratio, shift))) for ratio in ratios]

    def run(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        total = tf.constant(1 << (shift - 1))
        for x, (step, _, _), multiplier in zip(inputs, sources, multipliers, strict=True):
            total += tf.cast(_codes(x, step), tf.int32) * multiplier
        return target.values(tf.cast(tf.bitwise.right_shift(total, shift), tf.float32))

    return run


def _multiply(call: LayerCall, sources: Sequence[Grid], target: Target) -> Function | None:
    """One float32 multiplier, ties to even."""
    (left, _, _), (right, _, _) = sources
    scale = np.float32(left) * np.float32(right) / target.step

    def run(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        product = _codes(inputs[0], left) * _codes(inputs[1], right)
        return target.values(tf.round(product * scale))

    return run


def _mean(call: LayerCall, sources: Sequence[Grid], target: Target) -> Function | None:
    """Zero points are folded into one float32 offset before the rounding."""
    ((step, zero_point, bits),) = sources
    if bits != TENSOR_BITS:
        return None
    code_of_zero = zero_point + INT8_LOW
    count = math.prod(call.owner.input_shape[1:3])
    scale = (np.float32(step) / target.step) * (np.float32(1) / np.float32(count))
    shift = np.float32(count) * np.float32(code_of_zero) * scale
    offset = np.float32(target.zero_point) - shift
    keepdims = bool(call.layer.keepdims)

    def run(x: tf.Tensor) -> tf.Tensor:
        codes = tf.cast(_codes(x, step), tf.int32) + code_of_zero
        totals = tf.cast(tf.reduce_sum(codes, [1, 2], keepdims=keepdims), tf.float32)
        return target.values(tf.round(totals * scale + offset) - target.zero_point)

    return run


def _average(call: LayerCall, sources: Sequence[Grid], target: Target) -> Function | None:
    """A depthwise convolution of ones; windows of varying size are averaged in float."""
    layer = call.layer
    ((step, _, _),) = sources
    rows, columns = call.owner.input_shape[1:3]
    exact = rows % layer.strides[0] == 0 and columns % layer.strides[1] == 0
    if layer.padding == "same" and not (exact and layer.strides == layer.pool_size):
        return None
    channels = call.owner.input_shape[3]
    ones = tf.ones((*layer.pool_size, channels, 1))
    scale = np.float32(1.0 / math.prod(layer.pool_size))
    multiplier = np.float32(step) * scale / target.step

    def run(x: tf.Tensor) -> tf.Tensor:
        sums = keras.backend.depthwise_conv2d(_codes(x, step), ones, layer.strides, "valid")
        return target.values(tf.round(sums * multiplier))

    return run


_ARITHMETIC: dict[type, Callable[[LayerCall, Sequence[Grid], Target], Function | None]] = {
    keras.layers.Add: _add,
    keras.layers.Multiply: _multiply,
    keras.layers.GlobalAveragePooling2D: _mean,
    keras.layers.AveragePooling2D: _average,
}
