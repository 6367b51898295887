"""Networks of a few operators for measuring."""

import numpy as np

from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.operators.convolution import Conv2D, FullyConnected
from tflite_tools.operators.elementwise import Add
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.pooling import AveragePool2D
from tflite_tools.operators.settings import Activation, Padding

SIZE, CHANNELS = 8, 8
CODES = Quantization(np.float32(0.05), -10)


def network(*, falls_back: bool = False) -> bytes:
    """`image` (float) to `result.float`; with an operator outside XNNPACK when `falls_back`."""
    rng = np.random.default_rng(3)
    graph = IntegerGraph()
    shape = (1, SIZE, SIZE, CHANNELS)
    graph.add_input("image", (1, SIZE, SIZE, 3), DataType.FLOAT32)
    graph.add_tensor("stem.input", (1, SIZE, SIZE, 3), DataType.INT8, CODES)
    graph.add_operation("stem.input", Quantize(), ["image"], ["stem.input"])
    weights = rng.integers(-127, 128, (CHANNELS, 3, 3, 3))
    _linear(graph, "stem", Conv2D(activation=Activation.RELU), "stem.input", weights, shape)
    weights = rng.integers(-8, 8, (CHANNELS, CHANNELS))
    dense = FullyConnected(keep_num_dims=True)
    _linear(graph, "mix", dense, "stem", weights, shape, DataType.INT4)
    last = "sum"
    graph.add_tensor("sum", shape, DataType.INT8, Quantization(np.float32(0.1), 5))
    graph.add_operation("sum", Add(), ["mix", "stem"], ["sum"])
    if falls_back:
        last, shape = "pool", (1, SIZE // 2, SIZE // 2, CHANNELS)
        graph.add_tensor("pool", shape, DataType.INT8, graph.tensor("sum").quantization)
        graph.add_operation("pool", AveragePool2D((2, 2), (2, 2), Padding.VALID), ["sum"], ["pool"])
    graph.add_tensor("result.float", shape, DataType.FLOAT32)
    graph.add_operation("result.float", Dequantize(), [last], ["result.float"])
    graph.outputs.append("result.float")
    graph.metadata["bits"] = {"stem": [8, 8], "mix": [4, 8]}
    return emit(graph)


def _linear(graph, name, attributes, source, weights, shape, dtype=DataType.INT8) -> None:
    scales = np.full(CHANNELS, 0.01, np.float32)
    codes = graph.add_constant(f"{name}.weight", weights, dtype, Quantization(scales))
    bias = graph.add_bias(f"{name}.bias", np.arange(CHANNELS), source, codes)
    graph.add_tensor(name, shape, DataType.INT8, CODES)
    graph.add_operation(name, attributes, [source, codes, bias], [name])
