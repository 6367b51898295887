"""Building and validating integer graphs."""

import subprocess
import sys

import numpy as np
import pytest
from random_graphs import GraphBuilder, residual_network

from tflite_tools.integer_graph.graph import (
    DataType,
    GraphError,
    IntegerGraph,
    Quantization,
    Tensor,
)
from tflite_tools.operators.convolution import Conv2D, DepthwiseConv2D, FullyConnected
from tflite_tools.operators.elementwise import Add
from tflite_tools.operators.grids import Quantize
from tflite_tools.operators.pooling import MaxPool2D, Mean
from tflite_tools.operators.shaping import Pad, Reshape


@pytest.fixture
def convolution():
    """A valid graph with one convolution, parts of which the tests replace."""
    graph = IntegerGraph()
    x = graph.add_input("x", (1, 6, 6, 3), DataType.INT8, Quantization(0.1, -5))
    codes = np.ones((4, 3, 3, 3), np.int64)
    w = graph.add_constant("w", codes, DataType.INT8, Quantization(np.full(4, 0.01)))
    b = graph.add_bias("b", np.arange(4), x, w)
    y = graph.add_tensor("y", (1, 6, 6, 4), DataType.INT8, Quantization(0.2))
    graph.add_operation("conv", Conv2D(), [x, w, b], [y])
    graph.outputs.append(y)
    return graph


def replace(graph, name, **changes):
    tensor = graph.tensors[name]
    fields = {
        "name": name,
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "quantization": tensor.quantization,
        "data": tensor.data,
    }
    graph.tensors[name] = Tensor(**{**fields, **changes})


def test_valid_graphs_pass(convolution):
    convolution.validate()
    builder = GraphBuilder(0)
    builder.finish(residual_network(builder)).validate()


def test_bias_scale_is_the_product_of_input_and_weight_scales(convolution):
    expected = np.float32(0.1) * np.full(4, 0.01, np.float32)
    np.testing.assert_array_equal(convolution.tensor("b").quantization.scale, expected)


def test_constants_and_scales_are_copies_that_cannot_be_written():
    scale, codes = np.ones(3, np.float32), np.zeros((3, 2), np.int8)
    quantization = Quantization(scale)
    tensor = Tensor("w", (3, 2), DataType.INT4, quantization, codes)
    scale[0], codes[0, 0] = 7, 7
    assert quantization.scale[0] == 1
    assert tensor.data[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        tensor.data[0, 0] = 1


def test_equal_quantizations_compare_equal():
    assert Quantization(0.1, 3) == Quantization(np.float32(0.1), 3)
    assert Quantization(0.1, 3) != Quantization(0.1, 4)
    assert Quantization(0.1) != Quantization([0.1])
    assert hash(Quantization([0.1, 0.2])) == hash(Quantization(np.array([0.1, 0.2])))
    assert Quantization(0.5, 2).per_channel(3, 1) == Quantization([0.5] * 3, 2, 1)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan, 1e-60, [[1.0]], []])
def test_bad_scales_are_refused(scale):
    with pytest.raises(ValueError, match="scale"):
        Quantization(scale)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"shape": (1, 0), "dtype": DataType.INT8}, "at least 1"),
        ({"shape": (2,), "dtype": DataType.INT4, "data": np.array([8, 0])}, r"\[-8, 7\]"),
        (
            {"shape": (2,), "dtype": DataType.INT8, "data": np.array([0.5, 0])},
            "Quantize them first",
        ),
        ({"shape": (3,), "dtype": DataType.INT8, "data": np.array([1, 0])}, r"shape \(2,\)"),
    ],
)
def test_bad_tensors_are_refused_by_name(arguments, sentence):
    with pytest.raises(ValueError, match=f"'t'.*{sentence}"):
        Tensor("t", **arguments)


def test_names_are_unique_and_known(convolution):
    with pytest.raises(GraphError, match="'y' already"):
        convolution.add_tensor("y", (1, 2), DataType.FLOAT32)
    with pytest.raises(GraphError, match="operation 'conv' already"):
        convolution.add_operation("conv", Quantize(), ["x"], ["y"])
    with pytest.raises(GraphError, match="no tensor 'z'"):
        convolution.add_operation("q", Quantize(), ["x"], ["z"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "y", "shape": (1, 6, 6, 5)}, r"'conv'.*produces shape \(1, 6, 6, 4\)"),
        ({"name": "y", "shape": (2, 6, 6, 4)}, "'y'.*must be 1"),
        ({"name": "y", "quantization": None}, "'y' has no quantization"),
        ({"name": "y", "quantization": Quantization(1.0, 200)}, r"'y'.*\[-128, 127\].*200"),
        (
            {"name": "y", "quantization": Quantization(np.ones(4), axis=3)},
            "'y' must have one",
        ),
        ({"name": "w", "quantization": Quantization(np.ones(3))}, "'w'.*3 scales"),
        ({"name": "x", "shape": (1, 6, 6, 2)}, "'conv'.*one I"),
        ({"name": "b", "quantization": Quantization(np.ones(4))}, "'conv'.*use graph.add_bias"),
        ({"name": "b", "dtype": DataType.INT8}, "'conv'.*must be INT32"),
        ({"name": "b", "data": np.full(4, 2**31 - 1)}, "'conv'.*overflow INT32"),
        ({"name": "w", "data": None}, "'w'"),
    ],
)
def test_invalid_graphs_name_the_culprit(convolution, change, sentence):
    replace(convolution, **change)
    with pytest.raises(GraphError, match=sentence):
        convolution.validate()


def test_order_of_operations_is_checked(convolution):
    convolution.add_tensor("z", (1, 6, 6, 4), DataType.INT8, Quantization(0.2))
    convolution.add_operation("add", Add(), ["y", "y"], ["z"])
    convolution.validate()
    convolution.operations.reverse()
    with pytest.raises(GraphError, match="'add' reads 'y' before"):
        convolution.validate()


def test_every_tensor_has_one_producer(convolution):
    convolution.add_operation("again", Conv2D(), ["x", "w", "b"], ["y"])
    with pytest.raises(GraphError, match="'again' writes 'y'"):
        convolution.validate()


def test_outputs_must_be_produced(convolution):
    convolution.add_tensor("loose", (1, 2), DataType.FLOAT32)
    convolution.outputs.append("loose")
    with pytest.raises(GraphError, match="'loose' is produced by no operation"):
        convolution.validate()
    with pytest.raises(GraphError, match="at least one input"):
        IntegerGraph().validate()


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [(MaxPool2D((9, 9)), (1, 1, 1, 4)), (Mean(), (1, 6, 4)), (Reshape(), (1, 5))],
)
def test_shapes_that_do_not_fit_are_refused(convolution, attributes, shape):
    convolution.add_tensor("z", shape, DataType.INT8, Quantization(0.2))
    convolution.add_operation("last", attributes, ["y"], ["z"])
    with pytest.raises(GraphError, match="'last'"):
        convolution.validate()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Conv2D(strides=(0, 1)),
        lambda: DepthwiseConv2D(depth_multiplier=0),
        lambda: MaxPool2D(window=(2,)),
        lambda: Pad(height=(-1, 0)),
    ],
)
def test_bad_attributes_are_refused(build):
    with pytest.raises(ValueError, match="Received"):
        build()


def test_fully_connected_without_kept_axes_needs_two_dimensions():
    graph = IntegerGraph()
    x = graph.add_input("x", (1, 2, 2, 4), DataType.INT8, Quantization(0.1))
    w = graph.add_constant(
        "w", np.zeros((3, 4), int), DataType.INT8, Quantization(0.1).per_channel(3)
    )
    b = graph.add_bias("b", np.zeros(3, int), x, w)
    y = graph.add_tensor("y", (1, 3), DataType.INT8, Quantization(0.1))
    graph.add_operation("fc", FullyConnected(), [x, w, b], [y])
    graph.outputs.append(y)
    with pytest.raises(GraphError, match=r"'fc'.*keep_num_dims"):
        graph.validate()


def test_importing_the_graph_needs_numpy_only():
    code = (
        "import sys, tflite_tools.integer_graph.graph; "
        "print([name for name in ('tensorflow', 'ai_edge_litert', 'flatbuffers', 'tf_keras') "
        "if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
