"""The verification report: it must find differences, and name where they begin."""

import json

import numpy as np
import pytest
from random_graphs import GraphBuilder, residual_network

from tflite_tools.arithmetic.kernel_sets import KernelSet
from tflite_tools.operators.elementwise import Add
from tflite_tools.operators.operator import Arithmetic
from tflite_tools.verification.integers import compare_integers


@pytest.fixture
def network():
    builder = GraphBuilder(2)
    return builder.finish(residual_network(builder)), builder.inputs_for(5)


def test_exact_report(network):
    graph, images = network
    report = compare_integers(graph, images, chunk_size=2)
    assert report.exact
    assert report.images == 5
    assert [item.kernel_set for item in report.kernel_sets] == list(KernelSet)
    produced = [name for name in graph.activation_names if name not in graph.inputs]
    for item in report.kernel_sets:
        assert [tensor.name for tensor in item.tensors] == produced
        assert [tensor.name for tensor in item.outputs] == graph.outputs
        assert item.elements == sum(5 * int(np.prod(graph.tensor(name).shape)) for name in produced)
        assert item.first_mismatch is None
    stored = json.loads(report.to_json())
    assert stored["mismatches"] == 0
    assert stored["kernel_sets"][0]["kernel_set"] == "xnnpack"
    assert all(str(kernel_set) in str(report) for kernel_set in KernelSet)


def test_a_wrong_kernel_is_found_and_located(network, monkeypatch):
    graph, images = network
    kernels = Add.kernels[Arithmetic.INT8]
    add = kernels[KernelSet.XNNPACK]

    def lower_the_largest_code(node):
        codes = add(node)
        return codes - (codes == codes.max()).astype(np.int8)

    monkeypatch.setitem(kernels, KernelSet.XNNPACK, lower_the_largest_code)
    first_add = next(item for item in graph.operations if item.kind == Add.kind)
    report = compare_integers(graph, images, [KernelSet.XNNPACK, KernelSet.BUILTIN])
    broken, sound = report.kernel_sets
    assert broken.mismatches > 0
    assert broken.first_mismatch == first_add.outputs[0]
    assert broken.largest_difference >= 1
    assert sound.mismatches == 0
    assert not report.exact
    assert report.mismatches == broken.mismatches
    assert first_add.outputs[0] in str(report)


def test_bad_arguments_are_refused(network):
    graph, images = network
    with pytest.raises(ValueError, match="chunk_size is at least 1"):
        compare_integers(graph, images, chunk_size=0)
    with pytest.raises(ValueError, match="batch size of at least 1"):
        compare_integers(graph, [images[0][:0]])
    with pytest.raises(ValueError, match="foreign"):
        compare_integers(graph, images, ["foreign"])
    with pytest.raises(TypeError, match=r"verify\(flatbuffer, model, images\).*Received: bytes"):
        compare_integers(b"TFL3", images)
