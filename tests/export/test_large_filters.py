"""Files for processors leave to the built-in kernels what XNNPACK has no kernel of its own for."""

import re

import numpy as np
import pytest

import tflite_tools
from qfa_tf.runs.exporting.hints import slow_filters
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.keras_backend import keras
from tflite_tools.arithmetic.kernel_sets import KernelSet
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.graph_reader import read_graph
from tflite_tools.lowering import ConversionOptions, lower
from tflite_tools.lowering.slow_operators import slow_in_xnnpack

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(6, 15, 15, 3)).astype(np.float32)
LARGE = {"seven", "five_by_seven", "three.input", "pool"}
"""Tensors that large filters write; the strided one writes the input of the last layer."""


def _network() -> keras.Model:
    """Filters of 9 to 49 weights, in groups of 8 channels and a rest of 4."""
    keras.utils.set_random_seed(0)
    image = keras.Input((15, 15, 3), name="image")
    x = layers.Conv2D(12, 1, name="widen")(image)
    x = layers.DepthwiseConv2D(7, padding="same", activation="relu6", name="seven")(x)
    x = layers.DepthwiseConv2D(5, padding="same", name="five")(x)
    x = layers.DepthwiseConv2D((5, 7), padding="same", activation="relu", name="five_by_seven")(x)
    x = layers.DepthwiseConv2D(7, strides=2, padding="valid", name="seven_strided")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="three")(x)
    x = layers.ZeroPadding2D(1)(x)
    x = layers.AveragePooling2D(6, strides=1, name="pool")(x)
    return keras.Model(image, layers.Dense(4, name="logits")(layers.Flatten()(x)))


def _prepared(bits) -> keras.Model:
    quantized = quantize(_network(), BitPolicy(bits))
    calibrate(quantized, IMAGES)
    prepare_for_deployment(quantized, runtime="cpu")
    return quantized


@pytest.mark.parametrize("bits", [(8, 8), (3, 4)])
def test_large_filters_run_in_the_built_in_kernels_exactly(bits):
    quantized = _prepared(bits)
    content = tflite_tools.convert(quantized)
    report = tflite_tools.verify(content, quantized, IMAGES)
    assert (report.runtime, report.mismatches, report.largest_output_difference) == ("cpu", 0, 0)
    assert report.layers.first_difference is None
    xnnpack = report.integers.kernel_sets[0]
    assert xnnpack.kernel_set is KernelSet.XNNPACK
    outside = {text.split(" -> ")[1].split(":")[0] for text in xnnpack.fallbacks}
    assert outside == LARGE
    assert all("at most 25 weights" in text for text in xnnpack.fallbacks)


def test_graphs_keep_what_is_left_to_the_built_in_kernels():
    quantized = _prepared((8, 8))
    graph = lower(quantized, ConversionOptions(runtime="cpu"))
    marked = {one.outputs[0] for one in graph.operations if one.attributes.copied_constants}
    assert marked == LARGE
    read = read_graph(emit(graph))
    assert [one.attributes for one in read.operations] == [
        one.attributes for one in graph.operations
    ]
    assert {name for name, tensor in read.tensors.items() if tensor.is_constant} == {
        name for name, tensor in graph.tensors.items() if tensor.is_constant
    }


def test_other_files_keep_one_partition():
    quantized = _prepared((8, 8))
    content = tflite_tools.convert(quantized, runtime="xnnpack")
    assert tflite_tools.inspect(content).partitions == 1
    slow = slow_in_xnnpack(read_graph(content))
    assert {operation.outputs[0] for operation in slow} == LARGE
    assert re.search(r"has 4, such as seven\. .*--runtime=cpu", slow_filters(content, "xnnpack"))
    assert slow_filters(content, "builtin") == ""


def test_runtimes_compute_what_is_modelled():
    content = tflite_tools.convert(_prepared((8, 8)))
    names = ["xnnpack", "builtin"]
    report = tflite_tools.compare_runtimes(content, IMAGES[:2], runtimes=names)
    for result in report.results:
        assert (result.problem, result.integers_note) == ("", "")
        assert result.integers.mismatches == 0
    assert {text.split(" -> ")[1] for text in report.results[0].left_out} == LARGE
