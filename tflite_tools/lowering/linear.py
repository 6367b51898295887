"""Convolutions and dense layers as integer operations."""

import numpy as np

from quantize_configs import weight_containers
from quantize_configs.folding import FoldedLinear
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import UnsupportedLayerError
from tflite_tools.graph import (
    Activation,
    Conv2D,
    DataType,
    DepthwiseConv2D,
    FullyConnected,
    IntegerGraph,
    Padding,
    Quantization,
)

ACTIVATIONS = {
    "linear": Activation.NONE,
    "relu": Activation.RELU,
    "relu6": Activation.RELU6,
    "hard_sigmoid": Activation.RELU_N1_TO_1,  # saturation at 8 bits is the clamp at 0
}
CONTAINER_TYPES = {"int8": DataType.INT8, "int4": DataType.INT4, "int2": DataType.INT2}
INT32_LIMIT = 2**31 - 1


def add_linear(
    graph: IntegerGraph,
    folded: FoldedLinear,
    source: str,
    target: str,
    container: str,
    padding: Padding | None = None,
) -> None:
    """Adds one folded layer that reads `source` and writes `target`.

    Args:
      graph: Graph under construction.
      folded: The layer.
      source: Input tensor, its codes spread by `weight_containers.input_factor`.
      target: Output tensor.
      container: "int8", "int4" or "int2".
      padding: Instead of that of the layer.

    Raises:
      UnsupportedLayerError: Dilation, groups, or a bias that does not fit.
    """
    layer, name = folded.call.layer, folded.call.name
    check_layer(layer)
    factor = weight_containers.code_factor(folded, container)
    scales = (folded.scales / factor).astype(np.float32)
    packed = container != "int8"
    attributes, codes, axis = _operator(folded, packed, padding)
    codes = graph.add_constant(
        f"{name}.weight",
        codes * factor,
        CONTAINER_TYPES[container],
        Quantization(scales, axis=axis),
    )
    unit = graph.tensor(source).quantization.scales.astype(np.float64) * scales.astype(np.float64)
    bias = np.round(folded.bias / unit)
    if np.max(np.abs(bias)) > INT32_LIMIT:
        raise UnsupportedLayerError(
            f"The bias of layer {name!r} is {np.max(np.abs(bias)):.3g} units of its accumulator "
            f"and does not fit 32 bits. Its input or weight scale has collapsed (unit "
            f"{unit.min():.3g}); train it again or calibrate it on real images."
        )
    bias = graph.add_bias(f"{name}.bias", bias.astype(np.int64), source, codes)
    graph.add_operation(name, attributes, [source, codes, bias], [target])


def check_layer(layer) -> None:
    """Raises UnsupportedLayerError for settings of a linear layer that have no operator here."""
    if isinstance(layer, keras.layers.Dense):
        return
    if tuple(layer.dilation_rate) != (1, 1):
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} has the dilation {layer.dilation_rate}; only 1 is exported. "
            "Use a larger kernel or a stride instead."
        )
    if type(layer) is keras.layers.Conv2D and layer.groups != 1:
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} has {layer.groups} groups; only 1 is exported. Use a "
            "DepthwiseConv2D for one group per channel, or split the layer."
        )


def padding_of(layer) -> Padding:
    """LiteRT padding of a Keras layer."""
    return {"same": Padding.SAME, "valid": Padding.VALID}[layer.padding]


def _operator(folded: FoldedLinear, packed: bool, padding: Padding | None):
    """(attributes, codes in LiteRT's layout, axis of the output channels)."""
    layer, codes = folded.call.layer, folded.codes
    activation = ACTIVATIONS[folded.activation]
    if isinstance(layer, keras.layers.Dense):
        keep = len(folded.call.owner.input_shape) > 2
        return FullyConnected(activation, keep_num_dims=keep), codes.T, 0
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        height, width, channels, multiplier = codes.shape
        attributes = DepthwiseConv2D(
            tuple(layer.strides),
            padding or padding_of(layer),
            activation,
            depth_multiplier=multiplier,
        )
        return attributes, codes.reshape(1, height, width, channels * multiplier), 3
    if packed:  # XNNPACK runs packed weights in FULLY_CONNECTED only
        return FullyConnected(activation, keep_num_dims=True), codes[0, 0].T, 0
    attributes = Conv2D(tuple(layer.strides), padding or padding_of(layer), activation)
    return attributes, codes.transpose(3, 0, 1, 2), 0
