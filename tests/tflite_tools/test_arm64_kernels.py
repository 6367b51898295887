"""The arithmetic of the built-in kernels for ARM64, and the emulated kernels themselves."""

import numpy as np
import pytest
from random_graphs import SINGLE_OPERATIONS, GraphBuilder
from test_linear_rounding import GRIDS, graph_with

from quantize_configs.kernels.multipliers import quantize_multiplier
from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.arithmetic.rounding import (
    scale_half_up,
    scale_half_up_then_left,
    scale_once,
)
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.integer_graph.graph import DataType
from tflite_tools.integer_graph.tensors import Quantization
from tflite_tools.operators.convolution import DepthwiseConv2D, FullyConnected
from tflite_tools.operators.pooling import Mean
from tflite_tools.operators.settings import Padding
from tflite_tools.reference.interpreter import interpret
from tflite_tools.runtimes.comparison import compare_runtimes
from tflite_tools.runtimes.registry import RUNTIMES
from tflite_tools.runtimes.runtime import MissingRuntimeError

ARM64 = [name for name, runtime in RUNTIMES.items() if runtime.processor is Processor.ARM64]


def test_one_rounding_is_that_of_the_whole_product():
    rng = np.random.default_rng(0)
    values = rng.integers(-(2**24), 2**24, 1000)
    multiplier, exponent = quantize_multiplier(rng.uniform(1e-4, 0.9, 1000))
    expected = [
        (2 * value * q + (1 << (31 - e))) // (1 << (32 - e))
        for value, q, e in zip(values.tolist(), multiplier.tolist(), exponent.tolist(), strict=True)
    ]
    assert scale_once(values, multiplier, exponent).tolist() == expected
    # 0.49999 of a step: one half at bit 31, which the second rounding takes for a tie.
    almost = (np.array([1]), np.array([(1 << 30) - 1 + (1 << 30)]), np.array([-1]))
    assert (scale_half_up(*almost)[0], scale_once(*almost)[0]) == (1, 0)


@pytest.mark.parametrize(("depth", "rows", "pixels"), [(8, 4, 1), (7, 4, 1), (8, 3, 1), (8, 4, 2)])
def test_only_a_vector_and_a_large_matrix_round_twice(depth, rows, pixels):
    differing = 0
    for seed in range(300):
        builder = GraphBuilder(seed)
        x = builder.input((pixels, 1, depth))
        shape = (rows, depth)
        graph = builder.finish(
            builder.linear(FullyConnected(keep_num_dims=True), x, shape, DataType.INT4)
        )
        images = builder.inputs_for(1)
        found = [
            interpret(graph, images, KernelSet.BUILTIN, processor=processor)[graph.outputs[0]]
            for processor in (Processor.X86_64, Processor.ARM64)
        ]
        differing += int(np.count_nonzero(found[0] != found[1]))
    assert (differing == 0) == ((depth, rows, pixels) == (8, 4, 1))


def test_a_left_shift_after_rounding_makes_steps_of_two():
    q, half = np.array([(1 << 30) + 12345]), np.array([1])
    values = np.arange(-50, 51)
    before, after = scale_half_up(values, q, half), scale_half_up_then_left(values, q, half)
    assert set((after % 2).tolist()) == {0}
    assert np.abs(after - before).max() == 1
    small = np.array([-3])
    assert np.array_equal(
        scale_half_up(values, q, small), scale_half_up_then_left(values, q, small)
    )


@pytest.mark.parametrize(
    ("strides", "image", "channels", "padding", "is_taken"),
    [
        ((1, 1), (9, 7), 16, Padding.SAME, True),
        ((2, 2), (9, 7), 8, Padding.SAME, True),
        ((2, 2), (8, 8), 16, Padding.VALID, True),
        ((1, 1), (1, 1), 16, Padding.SAME, True),
        ((2, 2), (8, 8), 16, Padding.SAME, False),
        ((2, 2), (9, 8), 16, Padding.SAME, False),
        ((1, 1), (1, 7), 16, Padding.SAME, False),
        ((1, 1), (9, 7), 12, Padding.SAME, False),
        ((2, 1), (9, 7), 16, Padding.SAME, False),
    ],
)
def test_depthwise_filters_of_3x3_shift_left_last(strides, image, channels, padding, is_taken):
    attributes = DepthwiseConv2D(strides, padding)
    for multiplier, differs in ((0.2, False), (1.5, is_taken)):
        differing = 0
        for seed in range(5):
            shape = (1, 3, 3, channels)
            graph, inputs = graph_with(attributes, image, shape, GRIDS[0], multiplier, seed)
            found = [
                interpret(graph, inputs, KernelSet.BUILTIN, processor=processor)[graph.outputs[0]]
                for processor in (Processor.X86_64, Processor.ARM64)
            ]
            differing += np.count_nonzero(found[0] != found[1])
        assert (differing > 0) == differs


def test_xnnpack_means_do_not_round_their_products():
    """1590 steps of 1/12 are 132.5; the float32 next to 1/12 is larger, so its product is, too."""
    builder = GraphBuilder(0)
    x = builder.graph.add_input("x", (1, 8, 3, 1), DataType.INT8, Quantization(0.0625, -68))
    graph = builder.finish(builder.operation(Mean(True), [x], Quantization(0.03125, -82)))
    codes = np.zeros((1, 8, 3, 1), np.int8)
    codes[0, :6, 0, 0] = -7  # a sum of -42, 1590 above 24 zero points
    found = {
        processor: interpret(graph, [codes], KernelSet.XNNPACK, processor=processor)[
            "mean_0"
        ].item()
        for processor in (Processor.X86_64, Processor.ARM64)
    }
    assert found == {Processor.X86_64: 50, Processor.ARM64: 51}


@pytest.mark.slow
@pytest.mark.parametrize("operation", SINGLE_OPERATIONS)
@pytest.mark.parametrize("name", ARM64)
def test_emulated_kernels_compute_what_is_modelled(name, operation):
    try:
        RUNTIMES[name].launch()
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))
    builder = GraphBuilder(3, ties=True)
    graph = builder.finish(SINGLE_OPERATIONS[operation](builder))
    for_reference = RUNTIMES[name].kernel_set is KernelSet.REFERENCE
    flatbuffer = emit(graph, for_reference=for_reference)
    report = compare_runtimes(flatbuffer, builder.inputs_for(2), runtimes=[name])
    (result,) = report.results
    assert result.problem == ""
    assert result.integers.mismatches == 0
