"""LiteRT options and version of each operator of the integer graph.

Versions follow LiteRT tflite/converter/tools/versioning/op_version.cc: a runtime too old for the
operand types refuses the file instead of misreading it.
"""

from tflite_tools.integer_graph.graph import IntegerGraph
from tflite_tools.integer_graph.operations import Operation, OperationKind
from tflite_tools.integer_graph.tensors import DataType

#: Axes of the only MEAN the graph has: height and width.
AXES_OF_MEAN = (1, 2)

_FLOAT_VERSIONS = {DataType.FLOAT32: 1, DataType.FLOAT16: 1}
_CONVOLUTION_VERSIONS = {DataType.INT8: 3, DataType.INT4: 7, **_FLOAT_VERSIONS}
_FULLY_CONNECTED_VERSIONS = {
    DataType.INT8: 4,
    DataType.INT4: 10,
    DataType.INT2: 14,
    **_FLOAT_VERSIONS,
}
_DEQUANTIZE_VERSIONS = {DataType.INT8: 2, DataType.INT16: 3, DataType.FLOAT16: 3}


def operator_options(schema, graph: IntegerGraph, node: Operation):
    """Options table and version of one operation.

    Args:
      schema: Module `ai_edge_litert.schema_py_generated`.
      graph: The graph the operation belongs to.
      node: The operation.

    Returns:
      (options object of the schema's object API or None, version).
    """
    return _WRITERS[node.kind](schema, graph, node)


def _conv_2d(schema, graph, node):
    options = schema.Conv2DOptionsT()
    _set_window(schema, options, node)
    options.dilationHFactor = options.dilationWFactor = 1
    if _is_int16(graph, node):
        return options, 8 if _set_bias_type(schema, options, graph, node) else 4
    return options, _CONVOLUTION_VERSIONS[_weight_type(graph, node)]


def _depthwise_conv_2d(schema, graph, node):
    options = schema.DepthwiseConv2DOptionsT()
    _set_window(schema, options, node)
    options.dilationHFactor = options.dilationWFactor = 1
    options.depthMultiplier = node.attributes.depth_multiplier
    if _is_int16(graph, node):
        return options, 5
    return options, _CONVOLUTION_VERSIONS[_weight_type(graph, node)]


def _fully_connected(schema, graph, node):
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = node.attributes.keep_num_dims
    _set_activation(schema, options, node)
    if _is_int16(graph, node):
        return options, 11 if _set_bias_type(schema, options, graph, node) else 7
    version = _FULLY_CONNECTED_VERSIONS[_weight_type(graph, node)]
    return options, max(version, 5) if node.attributes.keep_num_dims else version


def _add(schema, graph, node):
    options = schema.AddOptionsT()
    _set_activation(schema, options, node)
    return options, 1 if graph.tensor(node.inputs[0]).dtype is DataType.FLOAT32 else 2


def _mul(schema, graph, node):
    options = schema.MulOptionsT()
    _set_activation(schema, options, node)
    tensors = [graph.tensor(name) for name in (*node.inputs, *node.outputs)]
    if tensors[0].dtype is DataType.FLOAT32:
        return options, 1
    left, right, output = (tensor.quantization.scale for tensor in tensors)
    return options, 3 if left * right / output >= 1 else 2


def _hard_swish(schema, graph, node):
    return schema.HardSwishOptionsT(), 1


def _logistic(schema, graph, node):
    return None, 1


def _softmax(schema, graph, node):
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return options, 1


def _concatenation(schema, graph, node):
    options = schema.ConcatenationOptionsT()
    options.axis = node.attributes.axis
    return options, 2


def _mean(schema, graph, node):
    options = schema.ReducerOptionsT()
    options.keepDims = node.attributes.keep_dims
    return options, 2


def _pool_2d(schema, graph, node):
    options = schema.Pool2DOptionsT()
    _set_window(schema, options, node)
    options.filterHeight, options.filterWidth = node.attributes.window
    return options, 2


def _quantize(schema, graph, node):
    is_int16 = graph.tensor(node.outputs[0]).dtype is DataType.INT16
    return schema.QuantizeOptionsT(), 2 if is_int16 else 1


def _dequantize(schema, graph, node):
    dtype = graph.tensor(node.inputs[0]).dtype
    return schema.DequantizeOptionsT(), _DEQUANTIZE_VERSIONS.get(dtype, 1)


def _reshape(schema, graph, node):
    options = schema.ReshapeOptionsT()
    options.newShape = [-1, *graph.tensor(node.outputs[0]).shape[1:]]
    return options, 1


def _pad(schema, graph, node):
    return schema.PadOptionsT(), 2


def _weight_type(graph, node):
    return graph.tensor(node.inputs[1]).dtype


def _is_int16(graph, node):
    return graph.tensor(node.inputs[0]).dtype is DataType.INT16


def _set_bias_type(schema, options, graph, node):
    """Names an INT32 bias, which kernels with INT16 activations would read as INT64 otherwise."""
    is_narrow = graph.tensor(node.inputs[2]).dtype is DataType.INT32
    if is_narrow:
        options.quantizedBiasType = schema.TensorType.INT32
    return is_narrow


def _set_activation(schema, options, node):
    options.fusedActivationFunction = getattr(
        schema.ActivationFunctionType, node.attributes.activation.name
    )


def _set_window(schema, options, node):
    options.padding = getattr(schema.Padding, node.attributes.padding.name)
    options.strideH, options.strideW = node.attributes.strides
    _set_activation(schema, options, node)


_WRITERS = {
    OperationKind.CONV_2D: _conv_2d,
    OperationKind.DEPTHWISE_CONV_2D: _depthwise_conv_2d,
    OperationKind.FULLY_CONNECTED: _fully_connected,
    OperationKind.ADD: _add,
    OperationKind.MUL: _mul,
    OperationKind.HARD_SWISH: _hard_swish,
    OperationKind.LOGISTIC: _logistic,
    OperationKind.SOFTMAX: _softmax,
    OperationKind.CONCATENATION: _concatenation,
    OperationKind.MEAN: _mean,
    OperationKind.MAX_POOL_2D: _pool_2d,
    OperationKind.AVERAGE_POOL_2D: _pool_2d,
    OperationKind.QUANTIZE: _quantize,
    OperationKind.DEQUANTIZE: _dequantize,
    OperationKind.RESHAPE: _reshape,
    OperationKind.PAD: _pad,
}
