"""A deployed model outside training: sums of integer codes, rounded as a kernel set rounds them.

Fake quantization adds floats. Each sum is off by some millionths, now and then one is rounded to
the neighbouring code, and a deep network makes many differing codes of a few. Here the layers of a
prepared model add the codes themselves. Codes and their sums are exact in float32 below 2^24; a
layer whose sums may be larger adds parts of its channels, and these as int32. The result is
rounded by the formulas of a kernel set (`kernels`) onto the grid that the device writes.

What has another type on the device (16-bit activations, layers in float, functions between two
grids) is computed as in fake quantization.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from quantize_configs import weight_containers
from quantize_configs.folding import FoldedLinear, fold_linear
from quantize_configs.grid_placement import TENSOR_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.kernels.registry import find_kernels
from quantize_configs.kernels.target import Function, Kernels, Sums, Target, codes_of
from quantize_configs.layer_roles import Role, activation_of
from quantize_configs.linear_products import products_of
from quantize_configs.model_graph import LayerCall
from quantize_configs.quantized_model import LayerWrapper
from quantize_configs.tensor_grids import (
    Grid,
    is_exact_move,
    is_identity,
    read_grid,
    written_grid,
)
from quantize_configs.wrappers import WrappedModel

EXACT_IN_FLOAT32 = 1 << 24


def deploy(wrapped: WrappedModel, weight_container: str, runtime: str) -> None:
    """Makes all layers of a model compute, outside training, as the device does.

    Args:
      wrapped: A model whose ranges and biases are those of deployment.
      weight_container: See `prepare_for_deployment`.
      runtime: The same.
    """
    kernels = find_kernels(runtime)
    with tf.init_scope():
        for call in wrapped.graph.calls:
            if isinstance(call.owner, LayerWrapper):
                call.owner.deployed = None
        for call in wrapped.graph.calls:
            if isinstance(call.owner, LayerWrapper):
                _deploy_call(wrapped, call, weight_container, kernels)


def _deploy_call(
    wrapped: WrappedModel, call: LayerCall, weight_container: str, kernels: Kernels
) -> None:
    if call.role is Role.LINEAR:
        if wrapped.float_bits(call.name) is not None:
            return
        folded = fold_linear(wrapped, call)
        target = _target(wrapped, folded.output, folded.activation, kernels)
        if target is None or folded.input_bits > TENSOR_BITS:
            return
        container = weight_containers.choose(folded, weight_container)
        output, function = folded.output, _linear(folded, container, target, kernels)
    elif maker := _ARITHMETIC.get(type(call.layer)):
        activation, output = _fused_activation(wrapped, call)
        target = _target(wrapped, output, activation, kernels)
        sources = [read_grid(wrapped, name) for name in call.inputs]
        if target is None or any(source is None for source in sources):
            return
        if any(source[2] > TENSOR_BITS for source in sources if source):
            return
        made = maker(kernels, call, [source for source in sources if source], target)
        if made is None:
            return
        function = made
    else:
        return
    call.owner.deployed = function
    for follower in _followers(wrapped, call.name, output):
        follower.deployed = tf.identity


def _target(wrapped: WrappedModel, name: str, activation: str, kernels: Kernels) -> Target | None:
    written = written_grid(wrapped, name)
    if written is None or written[0][2] > TENSOR_BITS:
        return None
    return Target(written[0], activation, kernels.rounds_away)


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


# Operators with weights.


def _linear(folded: FoldedLinear, container: str, target: Target, kernels: Kernels) -> Function:
    """Sums of integer codes, rounded as the kernel set rounds them."""
    factor = weight_containers.code_factor(folded, container)
    spread = weight_containers.input_factor(folded, container)
    scales = (folded.scales / factor).astype(np.float32)
    step = np.float32(folded.input_scale) / np.float32(spread)
    unit = np.float64(step) * scales.astype(np.float64)
    bias = tf.constant(np.round(folded.bias / unit).astype(np.int32))
    taps = math.prod(folded.codes.shape[:2])
    write = kernels.linear(Sums(_operator(folded, container), step, scales, taps), target)
    products = _products(folded)

    def run(x: tf.Tensor) -> tf.Tensor:
        return write(products(codes_of(x, folded.input_scale)) * (factor * spread) + bias)

    return run


def _operator(folded: FoldedLinear, container: str) -> str:
    """What the device runs for a layer, see `Sums`."""
    layer = folded.call.layer
    if isinstance(layer, keras.layers.Dense) or container != "int8":
        return "fully_connected"
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return "depthwise"
    return "grouped" if getattr(layer, "groups", 1) > 1 else "convolution"


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


def _add(
    kernels: Kernels, call: LayerCall, sources: Sequence[Grid], target: Target
) -> Function | None:
    return kernels.add(sources, target)


def _multiply(
    kernels: Kernels, call: LayerCall, sources: Sequence[Grid], target: Target
) -> Function | None:
    return kernels.multiply(sources, target)


def _mean(
    kernels: Kernels, call: LayerCall, sources: Sequence[Grid], target: Target
) -> Function | None:
    count = math.prod(call.owner.input_shape[1:3])
    return kernels.mean(sources[0], count, bool(call.layer.keepdims), target)


def _average(
    kernels: Kernels, call: LayerCall, sources: Sequence[Grid], target: Target
) -> Function | None:
    """A depthwise convolution of ones; windows of varying size are averaged in float."""
    layer = call.layer
    ((step, _, _),) = sources
    rows, columns = call.owner.input_shape[1:3]
    exact = rows % layer.strides[0] == 0 and columns % layer.strides[1] == 0
    if layer.padding == "same" and not (exact and layer.strides == layer.pool_size):
        return None
    channels = call.owner.input_shape[3]
    ones = tf.ones((*layer.pool_size, channels, 1))
    taps = math.prod(layer.pool_size)
    scales = np.full(channels, 1.0 / taps, np.float32)
    write = kernels.linear(Sums("depthwise", np.float32(step), scales, taps), target)

    def run(x: tf.Tensor) -> tf.Tensor:
        sums = keras.backend.depthwise_conv2d(codes_of(x, step), ones, layer.strides, "valid")
        return write(tf.cast(sums, tf.int32))

    return run


def _concatenate(
    kernels: Kernels, call: LayerCall, sources: Sequence[Grid], target: Target
) -> Function | None:
    """Parts come onto the grid of the result one by one."""
    moves = [_move(kernels, source, target) for source in sources]
    if not any(moves):
        return None

    def run(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        parts = [x if move is None else move(x) for x, move in zip(inputs, moves, strict=True)]
        return call.layer.call(parts)

    return run


def _identity(
    kernels: Kernels, call: LayerCall, sources: Sequence[Grid], target: Target
) -> Function | None:
    """A change of grid between two layers."""
    if not is_identity(call) or not call.owner.quantize_config.output_quantizer:
        return None
    return _move(kernels, sources[0], target)


def _move(kernels: Kernels, source: Grid, target: Target) -> Function | None:
    """One QUANTIZE from grid to grid; None where Keras rounds as the device does."""
    if kernels.move is None or source == target.grid or not is_exact_move(source, target.grid):
        return None
    return kernels.move(source, target)


_ARITHMETIC: dict[type, Callable[[Kernels, LayerCall, Sequence[Grid], Target], Function | None]] = {
    keras.layers.Add: _add,
    keras.layers.Multiply: _multiply,
    keras.layers.GlobalAveragePooling2D: _mean,
    keras.layers.AveragePooling2D: _average,
    keras.layers.Concatenate: _concatenate,
    keras.layers.Activation: _identity,
}
