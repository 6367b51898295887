"""Convolutions and dense layers as integer operations."""

import numpy as np

from quantize_configs import weight_containers
from quantize_configs.bit_widths import WIDE_BITS
from quantize_configs.float_folding import FoldedFloat, fold_float
from quantize_configs.folding import FoldedLinear, fold_linear
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import UnsupportedLayerError
from quantize_configs.model_graph import LayerCall
from tflite_tools.arithmetic.accumulators import shifted_worst_case
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization, Tensor
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.grids import Value
from tflite_tools.operators.convolution import Conv2D, DepthwiseConv2D, FullyConnected
from tflite_tools.operators.operator import Operator
from tflite_tools.operators.settings import Activation, Padding

ACTIVATIONS = {
    "linear": Activation.NONE,
    "relu": Activation.RELU,
    "relu6": Activation.RELU6,
    "hard_sigmoid": Activation.RELU_N1_TO_1,  # saturation at 8 bits is the clamp at 0
}
CONTAINER_TYPES = {"int8": DataType.INT8, "int4": DataType.INT4, "int2": DataType.INT2}
INT32_LIMIT = 2**31 - 1


def lower_linear(lowering: Lowering, call: LayerCall) -> None:
    """A convolution or dense layer with everything that is fused into it."""
    if lowering.wrapped.float_bits(call.name) is not None:
        _lower_float(lowering, call)
        return
    folded = fold_linear(lowering.wrapped, call)
    container = weight_containers.choose(folded, lowering.options.weight_container)
    factor = weight_containers.input_factor(folded, container)
    source = lowering.mover.spread(lowering.values[call.inputs[0]], factor)

    if folded.activation == "hard_sigmoid":
        _check_hard_sigmoid(lowering, folded.output)
        if folded.input_bits == WIDE_BITS:
            raise UnsupportedLayerError(
                f"The hard-sigmoid {folded.output!r} follows a layer with {WIDE_BITS} bits, "
                "whose INT16 result no saturation clamps. Give that layer 8 bits or float."
            )

    def add(target: str) -> None:
        padding = _padding(lowering, call)
        add_linear(lowering.graph, folded, source, target, container, padding)

    lowering.write(folded.output, folded.activation != "linear", lowering.shape(call), add)


def _lower_float(lowering: Lowering, call: LayerCall) -> None:
    """A layer in float: DEQUANTIZE in front of it and QUANTIZE behind it, where needed."""
    folded = fold_float(lowering.wrapped, call)
    source = lowering.mover.real(lowering.values[call.inputs[0]], f"{call.name}.source")
    has_grid = bool(lowering.wrapped.output_quantizer(folded.output))
    if folded.activation == "hard_sigmoid":
        _check_hard_sigmoid(lowering, folded.output)
    target = f"{folded.output}.float" if has_grid else folded.output
    target = lowering.graph.add_tensor(target, lowering.shape(call), DataType.FLOAT32)
    add_float(lowering.graph, folded, source, target, _padding(lowering, call))
    value = Value(target, None, folded.activation != "linear")
    if has_grid:
        value = lowering.mover.moved(value, lowering.grid(folded.output), folded.output)
    lowering.register([folded.output], value)


def _padding(lowering: Lowering, call: LayerCall) -> Padding | None:
    return Padding.SAME if call.name in lowering.same_padded else None


def _check_hard_sigmoid(lowering: Lowering, name: str) -> None:
    grid, _ = lowering.target_grid(name)
    if grid.bits != 8 or grid.zero_point != 0:
        raise UnsupportedLayerError(
            f"The hard-sigmoid {name!r} is quantized to {grid.bits} bits with the zero point "
            f"{grid.zero_point}; it needs 8 bits and zero point 0, where saturation clamps it. "
            "Give it the quantizer that quantize_configs.quantize does."
        )


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
      UnsupportedLayerError: A bias that does not fit.
    """
    name = folded.call.name
    factor = weight_containers.code_factor(folded, container)
    scales = (folded.scales / factor).astype(np.float32)
    packed = container != "int8"
    activation = ACTIVATIONS[folded.activation]
    attributes, codes, axis = _operator(folded.call, folded.codes, activation, packed, padding)
    codes = graph.add_constant(
        f"{name}.weight",
        codes * factor,
        CONTAINER_TYPES[container],
        Quantization(scales, axis=axis),
    )
    unit = graph.tensor(source).grid.scales.astype(np.float64) * scales.astype(np.float64)
    units = np.round(folded.bias / unit)
    if graph.tensor(source).dtype is DataType.INT16:
        bias = _add_wide_bias(graph, name, attributes, units, source, codes, target)
        graph.add_operation(name, attributes, [source, codes, bias], [target])
        return
    if np.max(np.abs(units)) > INT32_LIMIT:
        raise UnsupportedLayerError(
            f"The bias of layer {name!r} is {np.max(np.abs(units)):.3g} units of its accumulator "
            f"and does not fit 32 bits. Its input or weight scale has collapsed (unit "
            f"{unit.min():.3g}); train it again or calibrate it on real images."
        )
    bias = graph.add_bias(f"{name}.bias", units.astype(np.int64), source, codes)
    graph.add_operation(name, attributes, [source, codes, bias], [target])


def add_float(
    graph: IntegerGraph,
    folded: FoldedFloat,
    source: str,
    target: str,
    padding: Padding | None = None,
) -> None:
    """Adds one folded layer in float that reads `source` and writes `target`, both FLOAT32.

    A hard-sigmoid is left to the QUANTIZE behind it, whose saturation clamps.
    """
    name = folded.call.name
    activation = ACTIVATIONS[folded.activation]
    if folded.activation == "hard_sigmoid":
        activation = Activation.NONE
    attributes, weight, _ = _operator(folded.call, folded.weight, activation, False, padding)
    dtype = DataType(str(folded.weight.dtype))
    constants = [
        graph.add_constant(f"{name}.weight", weight, dtype),
        graph.add_constant(f"{name}.bias", folded.bias, DataType.FLOAT32),
    ]
    graph.add_operation(target, attributes, [source, *constants], [target])


def _add_wide_bias(graph, name, attributes, bias, source, codes, target) -> str:
    """The bias of a layer with INT16 activations.

    INT32 where no sum leaves 32 bits, because the kernels for it are many times faster, INT64
    otherwise and for depthwise convolutions.
    """
    depthwise = isinstance(attributes, DepthwiseConv2D)
    dtype = DataType.INT64
    if not depthwise and np.max(np.abs(bias)) <= INT32_LIMIT:
        x, weights, output = (graph.tensor(tensor) for tensor in (source, codes, target))
        narrow = Tensor("bias", bias.shape, DataType.INT32, Quantization(1.0), bias.astype(int))
        worst = shifted_worst_case(x, weights, narrow, output.quantization, depthwise=False)
        dtype = DataType.INT32 if worst <= INT32_LIMIT else DataType.INT64
    return graph.add_bias(f"{name}.bias", bias.astype(np.int64), source, codes, dtype)


def padding_of(layer) -> Padding:
    """LiteRT padding of a Keras layer."""
    return {"same": Padding.SAME, "valid": Padding.VALID}[layer.padding]


def _operator(call: LayerCall, codes, activation, packed: bool, padding: Padding | None):
    """(attributes, codes or floats in LiteRT's layout, axis of the output channels)."""
    layer = call.layer
    attributes: Operator
    if isinstance(layer, keras.layers.Dense):
        keep = len(call.owner.input_shape) > 2
        return FullyConnected(activation, keep_num_dims=keep), codes.T, 0
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        height, width, channels, multiplier = codes.shape
        attributes = DepthwiseConv2D(
            tuple(layer.strides),
            padding or padding_of(layer),
            activation,
            depth_multiplier=multiplier,
            dilations=tuple(layer.dilation_rate),
        )
        return attributes, codes.reshape(1, height, width, channels * multiplier), 3
    if packed:  # XNNPACK runs packed weights in FULLY_CONNECTED only
        return FullyConnected(activation, keep_num_dims=True), codes[0, 0].T, 0
    attributes = Conv2D(
        tuple(layer.strides),
        padding or padding_of(layer),
        activation,
        tuple(layer.dilation_rate),
    )
    return attributes, codes.transpose(3, 0, 1, 2), 0


layers = keras.layers

LOWERINGS = {
    layers.Conv2D: lower_linear,
    layers.DepthwiseConv2D: lower_linear,
    layers.Dense: lower_linear,
}
