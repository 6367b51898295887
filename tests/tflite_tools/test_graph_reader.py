"""A flatbuffer read back is the graph that was written."""

import dataclasses

import numpy as np
import pytest
from random_graphs import SINGLE_OPERATIONS, GraphBuilder

from tflite_tools.arithmetic.kernel_sets import KernelSet
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.graph_reader import UnreadableGraphError, read_graph
from tflite_tools.flatbuffer.runtime import FlatbufferError
from tflite_tools.reference.interpreter import interpret


@pytest.mark.parametrize("name", SINGLE_OPERATIONS)
def test_what_is_read_is_written_to_the_same_bytes(name):
    for seed in range(3):
        builder = GraphBuilder(seed)
        graph = builder.finish(SINGLE_OPERATIONS[name](builder))
        graph.metadata = {"bits": {"layer": [4, 8]}}
        # A file knows no names of operations.
        graph.operations = [
            dataclasses.replace(node, name=node.outputs[0]) for node in graph.operations
        ]
        content = emit(graph)
        read = read_graph(content)
        assert emit(read) == content
        assert read.operations == graph.operations
        assert read.metadata == graph.metadata


def test_what_is_read_computes_the_same():
    builder = GraphBuilder(5)
    graph = builder.finish(SINGLE_OPERATIONS["conv_2d int8"](builder))
    images = builder.inputs_for(3)
    expected = interpret(graph, images, KernelSet.BUILTIN)[graph.outputs[0]]
    found = interpret(read_graph(emit(graph)), images, KernelSet.BUILTIN)[graph.outputs[0]]
    np.testing.assert_array_equal(found, expected)


def test_other_bytes_are_refused():
    with pytest.raises(FlatbufferError, match=r"10 bytes are no \.tflite file"):
        read_graph(b"\xff" * 10)


def test_an_operator_that_is_not_modelled_is_named():
    from ai_edge_litert import schema_py_generated as schema

    builder = GraphBuilder(5)
    content = emit(builder.finish(SINGLE_OPERATIONS["conv_2d int8"](builder)))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.TRANSPOSE_CONV
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.TRANSPOSE_CONV
    import flatbuffers

    writer = flatbuffers.Builder(1024)
    writer.Finish(model.Pack(writer), b"TFL3")
    with pytest.raises(UnreadableGraphError, match="TRANSPOSE_CONV"):
        read_graph(bytes(writer.Output()))
