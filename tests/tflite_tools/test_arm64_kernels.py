"""The arithmetic of the built-in kernels for ARM64, and the emulated kernels themselves."""

import numpy as np
import pytest
from random_graphs import SINGLE_OPERATIONS, GraphBuilder

from quantize_configs.kernels.multipliers import quantize_multiplier
from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.arithmetic.rounding import scale_half_up, scale_once
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.integer_graph.graph import DataType
from tflite_tools.operators.convolution import FullyConnected
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
