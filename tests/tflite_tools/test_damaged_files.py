"""Whatever happened to the bytes of a file: the readers of it raise nothing but our sentences."""

import numpy as np
import pytest
from byte_mutations import mutated

from quantize_configs.errors import QFAError
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.graph_reader import read_graph
from tflite_tools.flatbuffer.inspection import inspect
from tflite_tools.flatbuffer.metadata import read_metadata, with_metadata
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.operators.convolution import Conv2D
from tflite_tools.operators.settings import Activation

COUNT = 400
READERS = {
    "inspect": lambda content: inspect(content, delegation=False),
    "read_graph": read_graph,
    "read_metadata": read_metadata,
    "with_metadata": lambda content: with_metadata(content, {"more": 1}),
}


@pytest.fixture(scope="module")
def content():
    rng = np.random.default_rng(0)
    graph = IntegerGraph()
    x = graph.add_input("image", (1, 8, 8, 3), DataType.INT8, Quantization(0.02, -1))
    codes = rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    scales = np.full(4, 0.01, np.float32)
    w = graph.add_constant("stem.weight", codes, DataType.INT8, Quantization(scales, axis=0))
    b = graph.add_bias("stem.bias", rng.integers(-99, 99, 4).astype(np.int32), x, w)
    y = graph.add_tensor("stem", (1, 4, 4, 4), DataType.INT8, Quantization(0.1, -128))
    operator = Conv2D((2, 2), activation=Activation.RELU)
    graph.add_operation("stem", operator, [x, w, b], [y])
    graph.outputs.append(y)
    graph.metadata = {"bits": {"stem": [8, 8]}, "writer": "a test"}
    return emit(graph)


@pytest.mark.parametrize("name", READERS)
def test_only_sentences(name, content):
    READERS[name](content)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(COUNT):
        try:
            READERS[name](mutated(content, rng))
        except QFAError:
            refused += 1
    assert 0 < refused < COUNT
