"""The flatbuffer that the emitter writes."""

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema
from random_graphs import SINGLE_OPERATIONS, GraphBuilder, residual_network

from tflite_tools.flatbuffer.emitter import SIGNATURE_KEY, emit
from tflite_tools.flatbuffer.metadata import read_metadata
from tflite_tools.flatbuffer.packing import unpack
from tflite_tools.flatbuffer.runtime import run
from tflite_tools.integer_graph.graph import DataType


@pytest.fixture
def builder():
    builder = GraphBuilder(5)
    builder.finish(residual_network(builder))
    return builder


def parse(flatbuffer):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer))


def test_same_graph_same_bytes():
    graphs = []
    for _ in range(2):
        builder = GraphBuilder(5)
        graph = builder.finish(residual_network(builder))
        graph.metadata.update({"b": 1, "a": [2]} if not graphs else {"a": [2], "b": 1})
        graphs.append(emit(graph))
    assert graphs[0] == graphs[1]
    assert graphs[0][4:8] == b"TFL3"


def test_scales_zero_points_and_codes_arrive_unchanged(builder):
    model = parse(emit(builder.graph))
    written = {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}
    for name, tensor in builder.graph.tensors.items():
        entry = written[name]
        assert tuple(entry.shape) == tensor.shape
        assert entry.type == getattr(schema.TensorType, tensor.dtype.name)
        if tensor.quantization is not None:
            scales = np.asarray(entry.quantization.scale, np.float32)
            assert scales.tobytes() == tensor.quantization.scales.tobytes()
            assert set(entry.quantization.zeroPoint) == {tensor.quantization.zero_point}
            assert len(entry.quantization.zeroPoint) == scales.size
        if tensor.is_constant:
            raw = np.asarray(model.buffers[entry.buffer].data, np.uint8)
            if tensor.dtype is DataType.INT4:
                stored = unpack(raw, 4, tensor.data.size)
            else:
                stored = raw.view(tensor.data.dtype)
            np.testing.assert_array_equal(stored.reshape(tensor.shape), tensor.data)


def test_every_constant_has_a_buffer_of_its_own(builder):
    tensors = parse(emit(builder.graph)).subgraphs[0].tensors
    buffers = [tensor.buffer for tensor in tensors if tensor.buffer]
    assert len(set(buffers)) == len(buffers)


def test_depthwise_scales_run_along_the_last_axis():
    builder = GraphBuilder(1)
    graph = builder.finish(SINGLE_OPERATIONS["depthwise_conv_2d int8"](builder))
    tensors = parse(emit(graph)).subgraphs[0].tensors
    weights = next(tensor for tensor in tensors if tensor.name == b"layer_0/weights")
    assert weights.quantization.quantizedDimension == 3


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("conv_2d int8", 3),
        ("conv_2d int4", 7),
        ("depthwise_conv_2d int8", 3),
        ("depthwise_conv_2d int4", 7),
        ("fully_connected int8", 5),
        ("fully_connected int8 flat", 4),
        ("fully_connected int4", 10),
        ("fully_connected int2", 14),
        ("add", 2),
        ("mean", 2),
        ("max_pool_2d", 2),
        ("average_pool_2d", 2),
        ("reshape", 1),
        ("pad", 2),
        ("quantize int8", 1),
        ("dequantize", 2),
    ],
)
def test_operator_versions(name, version):
    builder = GraphBuilder(2)
    graph = builder.finish(SINGLE_OPERATIONS[name](builder))
    codes = parse(emit(graph)).operatorCodes
    assert [(code.builtinCode, code.version) for code in codes] == [
        (getattr(schema.BuiltinOperator, graph.operations[0].kind), version)
    ]


def test_signature_and_metadata(builder):
    builder.graph.metadata["architecture"] = {"depth": [2, 3], "resolution": 128}
    flatbuffer = emit(builder.graph)
    assert read_metadata(flatbuffer) == builder.graph.metadata
    interpreter = litert.Interpreter(model_content=flatbuffer)
    assert interpreter.get_signature_list() == {
        SIGNATURE_KEY: {"inputs": builder.graph.inputs, "outputs": builder.graph.outputs}
    }
    image = builder.inputs_for(1)[0]
    by_signature = interpreter.get_signature_runner(SIGNATURE_KEY)(input_0=image)
    name = builder.graph.outputs[0]
    np.testing.assert_array_equal(by_signature[name], run(flatbuffer, [image]).outputs[name])


def test_a_graph_without_metadata_has_none(builder):
    assert read_metadata(emit(builder.graph)) is None


def test_debug_model_shows_every_tensor(builder):
    graph, image = builder.graph, builder.inputs_for(2)
    shown = run(emit(graph, all_outputs=True), image).outputs
    assert sorted(shown) == sorted(name for name in graph.activation_names if name != "input_0")
    assert next(iter(shown)) == graph.outputs[0]
    plain = run(emit(graph), image).outputs
    assert list(plain) == graph.outputs
    np.testing.assert_array_equal(plain[graph.outputs[0]], shown[graph.outputs[0]])


@pytest.mark.parametrize("name", ["reshape", "mean flat", "pad"])
def test_batch_can_be_resized(name):
    builder = GraphBuilder(4)
    graph = builder.finish(SINGLE_OPERATIONS[name](builder))
    images = builder.inputs_for(3)
    flatbuffer = emit(graph)
    together = run(flatbuffer, images).outputs[graph.outputs[0]]
    alone = [run(flatbuffer, [images[0][i : i + 1]]).outputs[graph.outputs[0]] for i in range(3)]
    np.testing.assert_array_equal(together, np.concatenate(alone))
