"""Pooling and zero padding as integer operations."""

import numpy as np

from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import UnsupportedLayerError
from quantize_configs.model_graph import LayerCall
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.operators.convolution import DepthwiseConv2D
from tflite_tools.operators.pooling import Mean
from tflite_tools.operators.settings import Activation, Padding, window_positions

layers = keras.layers


def add_average(
    graph: IntegerGraph, call: LayerCall, source: str, target: str, activation: Activation
) -> None:
    """Global pooling as MEAN, others as a depthwise convolution with equal weights.

    XNNPACK runs no int8 AVERAGE_POOL_2D; the convolution is exact and stays delegated.

    Raises:
      UnsupportedLayerError: An activation that MEAN cannot fuse, or windows of varying size.
    """
    layer = call.layer
    if isinstance(layer, layers.GlobalAveragePooling2D):
        if activation is Activation.NONE:
            mean = Mean(keep_dims=bool(layer.keepdims))
            graph.add_operation(call.name, mean, [source], [target])
            return
        raise UnsupportedLayerError(
            f"Layer {call.name!r} is followed by an activation, which LiteRT cannot fuse into "
            "MEAN. Put the activation before the pooling."
        )
    height, width = layer.pool_size
    rows, columns, channels = call.owner.input_shape[1:]
    exact = rows % layer.strides[0] == 0 and columns % layer.strides[1] == 0
    if layer.padding == "same" and not (exact and layer.strides == layer.pool_size):
        raise UnsupportedLayerError(
            f"Layer {call.name!r} averages over padded windows, whose size varies. Use "
            "padding='valid', or a window that divides the map."
        )
    codes = np.ones((1, height, width, channels), np.int8)
    scales = np.full(channels, 1.0 / (height * width), np.float32)
    weights = graph.add_constant(
        f"{call.name}.weight", codes, DataType.INT8, Quantization(scales, axis=3)
    )
    bias = graph.add_bias(f"{call.name}.bias", np.zeros(channels, np.int32), source, weights)
    strides = tuple(layer.strides)
    attributes = DepthwiseConv2D(strides, Padding.VALID, activation, depth_multiplier=1)
    graph.add_operation(call.name, attributes, [source, weights, bias], [target])


def pads_like_same(padding: LayerCall, reader: LayerCall) -> bool:
    """Whether a ZeroPadding2D adds what SAME padding would in the convolution that reads it."""
    layer = reader.layer
    if not isinstance(layer, layers.Conv2D) or layer.padding != "valid":
        return False
    if tuple(layer.dilation_rate) != (1, 1):
        return False
    sizes = padding.owner.input_shape[1:3]
    windows = zip(sizes, layer.kernel_size, layer.strides, padding.layer.padding, strict=True)
    for size, window, stride, sides in windows:
        outputs, *same = window_positions(size, window, stride, Padding.SAME)
        padded = size + sum(sides)
        fits = padded >= window and (padded - window) // stride + 1 == outputs
        if not fits or tuple(same) != tuple(sides):
            return False
    return True
