"""Pools as integer operations."""

import dataclasses

import numpy as np

from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import UnsupportedLayerError
from quantize_configs.model_graph import LayerCall
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.convolution import ACTIVATIONS, padding_of
from tflite_tools.lowering.grids import Value
from tflite_tools.operators.convolution import DepthwiseConv2D
from tflite_tools.operators.grids import Quantize
from tflite_tools.operators.pooling import AveragePool2D, MaxPool2D, Mean, ReduceMax
from tflite_tools.operators.settings import Activation, Padding

layers = keras.layers


def lower_max_pool(lowering: Lowering, call: LayerCall) -> None:
    """MAX_POOL_2D, or a convolution that only skips pixels.

    XNNPACK runs no pool whose strides are larger than its window.
    """
    layer = call.layer
    strides = tuple(layer.strides)
    pool = MaxPool2D(tuple(layer.pool_size), strides, padding_of(layer))
    source = lowering.values[call.inputs[0]]
    skips = pool.window == (1, 1) and strides != (1, 1)
    if skips and source.grid is not None and not source.grid.is_wide:
        _skip_pixels(lowering, call, source)
    else:
        lowering.pass_on(call, pool)


def _skip_pixels(lowering: Lowering, call: LayerCall, source: Value) -> None:
    """A depthwise 1x1 convolution with weights 1, which keeps codes as they are."""
    graph, channels = lowering.graph, call.owner.input_shape[3]
    weights = graph.add_constant(
        f"{call.name}.weight",
        np.ones((1, 1, 1, channels), np.int8),
        DataType.INT8,
        Quantization(np.ones(channels, np.float32), axis=3),
    )
    zeros = np.zeros(channels, np.int32)
    bias = graph.add_bias(f"{call.name}.bias", zeros, source.tensor, weights)
    given = graph.tensor(source.tensor)
    target = graph.add_tensor(call.name, lowering.shape(call), given.dtype, given.quantization)
    operator = DepthwiseConv2D(tuple(call.layer.strides), Padding.VALID)
    graph.add_operation(call.name, operator, [source.tensor, weights, bias], [target])
    lowering.values[call.name] = dataclasses.replace(source, tensor=target)


def lower_global_max(lowering: Lowering, call: LayerCall) -> None:
    """REDUCE_MAX."""
    lowering.pass_on(call, ReduceMax(keep_dims=bool(call.layer.keepdims)))


def lower_global_average(lowering: Lowering, call: LayerCall) -> None:
    """MEAN.

    Raises:
      UnsupportedLayerError: An activation follows, which MEAN cannot fuse.
    """
    activation, output = lowering.fused_activation(call)
    source = lowering.clamped(call.inputs[0])

    def add(target: str) -> None:
        if activation != "linear":
            raise UnsupportedLayerError(
                f"Layer {call.name!r} is followed by an activation, which LiteRT cannot fuse into "
                "MEAN. Put the activation before the pooling."
            )
        mean = Mean(keep_dims=bool(call.layer.keepdims))
        lowering.graph.add_operation(call.name, mean, [source.tensor], [target])

    nonnegative = activation != "linear" or source.nonnegative
    lowering.write(output, nonnegative, lowering.shape(call), add)


def lower_average_pool(lowering: Lowering, call: LayerCall) -> None:
    """A mean over windows, with the activation that follows it.

    Windows of varying size, at padded edges, are averaged in float.
    """
    activation, output = lowering.fused_activation(call)
    source = lowering.clamped(call.inputs[0])
    fused = ACTIVATIONS[activation]

    def add(target: str) -> None:
        if _varies(call):
            real = lowering.mover.real(source, f"{call.name}.input.float")
            layer, name = call.layer, f"{call.name}.result"
            pool = AveragePool2D(tuple(layer.pool_size), tuple(layer.strides), Padding.SAME, fused)
            mean = lowering.graph.add_tensor(name, lowering.shape(call), DataType.FLOAT32)
            lowering.graph.add_operation(name, pool, [real], [mean])
            lowering.graph.add_operation(call.name, Quantize(), [mean], [target])
        else:
            _add_average(lowering.graph, call, source.tensor, target, fused)

    nonnegative = activation != "linear" or source.nonnegative
    lowering.write(output, nonnegative, lowering.shape(call), add)


def _varies(call: LayerCall) -> bool:
    layer = call.layer
    rows, columns = call.owner.input_shape[1:3]
    exact = rows % layer.strides[0] == 0 and columns % layer.strides[1] == 0
    return layer.padding == "same" and not (exact and layer.strides == layer.pool_size)


def _add_average(
    graph: IntegerGraph, call: LayerCall, source: str, target: str, activation: Activation
) -> None:
    """A depthwise convolution with equal weights.

    XNNPACK runs no int8 AVERAGE_POOL_2D; the convolution is exact and stays delegated.
    """
    layer = call.layer
    height, width = layer.pool_size
    channels = call.owner.input_shape[3]
    codes = np.ones((1, height, width, channels), np.int8)
    scales = np.full(channels, 1.0 / (height * width), np.float32)
    weights = graph.add_constant(
        f"{call.name}.weight", codes, DataType.INT8, Quantization(scales, axis=3)
    )
    bias = graph.add_bias(f"{call.name}.bias", np.zeros(channels, np.int32), source, weights)
    strides = tuple(layer.strides)
    attributes = DepthwiseConv2D(strides, Padding.VALID, activation, depth_multiplier=1)
    graph.add_operation(call.name, attributes, [source, weights, bias], [target])


LOWERINGS = {
    layers.MaxPooling2D: lower_max_pool,
    layers.GlobalMaxPooling2D: lower_global_max,
    layers.AveragePooling2D: lower_average_pool,
    layers.GlobalAveragePooling2D: lower_global_average,
}
