"""LiteRT against the NumPy interpreter: 0 mismatches, per operator and kernel set."""

import numpy as np
import pytest
from random_graphs import SINGLE_OPERATIONS, GraphBuilder, residual_network

from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.runtime import KernelSet, run
from tflite_tools.integer_graph.graph import DataType, Quantization
from tflite_tools.operators.convolution import Conv2D, FullyConnected
from tflite_tools.operators.elementwise import Add
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.pooling import Mean
from tflite_tools.operators.settings import Activation
from tflite_tools.reference import interpret
from tflite_tools.verification.integers import compare_integers

KERNEL_SETS = tuple(KernelSet)
ALL_CODES = np.arange(-128, 128).astype(np.int8)


def assert_exact(graph, inputs, kernel_sets=KERNEL_SETS, **settings):
    report = compare_integers(graph, inputs, kernel_sets, **settings)
    assert report.exact, str(report)
    assert all(comparison.elements > 0 for comparison in report.kernel_sets)
    return report


@pytest.mark.parametrize("kernel_set", KERNEL_SETS)
@pytest.mark.parametrize("name", SINGLE_OPERATIONS)
def test_single_operations(name, kernel_set):
    for seed in range(12):
        builder = GraphBuilder(seed, ties=seed % 2 == 0)
        graph = builder.finish(SINGLE_OPERATIONS[name](builder))
        assert_exact(graph, builder.inputs_for(1 + seed % 4), [kernel_set])


@pytest.mark.parametrize("name", ["mean", "depthwise_conv_2d int8", "quantize int8", "dequantize"])
def test_two_threads(name):
    """Some built-in kernels split vector body and tail by thread."""
    for seed in range(12):
        builder = GraphBuilder(seed, ties=True)
        graph = builder.finish(SINGLE_OPERATIONS[name](builder))
        assert_exact(graph, builder.inputs_for(3), num_threads=2)


@pytest.mark.parametrize("weight_type", [DataType.INT8, DataType.INT4, DataType.INT2])
def test_residual_network(weight_type):
    builder = GraphBuilder(7)
    graph = builder.finish(residual_network(builder, weight_type))
    report = assert_exact(graph, builder.inputs_for(21), chunk_size=8)
    assert report.kernel_sets[0].fully_delegated
    assert report.kernel_sets[0].partitions == 1


def test_network_that_leaves_the_delegate_in_the_middle():
    builder = GraphBuilder(3)
    x = builder.input((8, 8, 12))
    x = builder.linear(Conv2D(), x, (16, 1, 1, 12))
    y = builder.linear(Conv2D(), x, (16, 3, 3, 16), DataType.INT4)
    y = builder.operation(Add(), [x, y], builder.quantization(0.2))
    graph = builder.finish(builder.operation(Mean(), [y], builder.quantization(0.1)))
    report = assert_exact(graph, builder.inputs_for(5))
    assert report.kernel_sets[0].partitions == 2
    assert not report.kernel_sets[0].fully_delegated
    (fallback,) = report.kernel_sets[0].fallbacks
    assert (
        fallback == f"CONV_2D -> {graph.operations[1].outputs[0]}: XNNPACK has no INT4 convolution"
    )


@pytest.mark.parametrize("clamp", ["fused RELU", "same-scale QUANTIZE"])
@pytest.mark.parametrize("bits", range(2, 8))
def test_low_bit_codes_in_int8(bits, clamp):
    """b-bit codes with zero point z are int8 codes with zero point 127 - (2**b - 1) + z."""
    builder = GraphBuilder(bits)
    top = (1 << bits) - 1
    zero_code = 0 if clamp == "fused RELU" else int(builder.rng.integers(1, top))
    bottom = 127 - top
    graph = builder.graph
    x = graph.add_input("x", (1, 5, 6, 12), DataType.INT8, Quantization(1.0 / top, bottom))
    activation = Activation.RELU if zero_code == 0 else Activation.NONE
    output_scale = np.float32(0.8 / top)
    quantization = Quantization(output_scale, bottom + zero_code)
    attributes = Conv2D(activation=activation)
    y = builder.linear(attributes, x, (9, 3, 3, 12), DataType.INT4, quantization)
    stored_zero = bottom
    if zero_code:
        y = builder.operation(Quantize(), [y], Quantization(output_scale, -128 + zero_code))
        stored_zero = -128
    # INT4 convolutions are not delegated; hold the same codes in INT8.
    weights = graph.tensors["layer_0/weights"]
    graph.tensors["layer_0/weights"] = weights.__class__(
        weights.name, weights.shape, DataType.INT8, weights.quantization, weights.data
    )
    builder.finish(y)

    codes = builder.rng.integers(0, top + 1, (3, 5, 6, 12))
    inputs = [(codes + bottom).astype(np.int8)]
    report = assert_exact(graph, inputs)
    assert report.kernel_sets[0].fully_delegated

    padded = np.pad(codes, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    acc = np.einsum("nhwcij,oijc->nhwo", windows, weights.data.astype(np.float64))
    acc = (acc + graph.tensor("layer_0/bias").data).astype(np.float32)
    scale = np.float32(1.0 / top) * weights.quantization.scale / output_scale
    fake_quant = np.clip(np.rint(acc * scale) + zero_code, 0, top)
    assert len(np.unique(fake_quant)) > 2
    stored = run(emit(graph), inputs).outputs[y].astype(int)
    np.testing.assert_array_equal(stored - stored_zero, fake_quant)


def test_quantize_by_k_over_256_is_exact():
    """input scale = output scale * k / 256 makes the 8.8 multiplier of XNNPACK exactly k."""
    for k in (1, 3, 64, 100, 127, 128, 200, 255, 256, 257, 511, 12345, 32768):
        for output_scale in (np.float32(0.0625), np.float32(0.0373)):
            for zero_in, zero_out in ((0, 0), (37, -11), (127, -128)):
                builder = GraphBuilder(0)
                input_scale = np.float32(np.float64(output_scale) * k / 256)
                x = builder.graph.add_input(
                    "x", (1, 256), DataType.INT8, Quantization(input_scale, zero_in)
                )
                y = builder.operation(Quantize(), [x], Quantization(output_scale, zero_out))
                codes = run(emit(builder.finish(y)), [ALL_CODES[None]]).outputs[y]
                exact = (((ALL_CODES.astype(int) - zero_in) * k + 128) >> 8) + zero_out
                np.testing.assert_array_equal(codes[0], np.clip(exact, -128, 127))


@pytest.mark.parametrize("kernel_set", KERNEL_SETS)
def test_relu6_limit_between_two_codes(kernel_set):
    moved = 0
    for steps in range(20, 200, 9):
        scale = np.float32(6 / (steps + 0.5))
        builder = GraphBuilder(steps)
        zero_point = builder.zero_point()
        x = builder.graph.add_input("x", (1, 256), DataType.INT8, Quantization(scale, zero_point))
        y = builder.operation(Add(Activation.RELU6), [x, x], Quantization(scale, zero_point))
        graph = builder.finish(y)
        assert_exact(graph, [ALL_CODES[None]], [kernel_set])
        limits = {
            str(other): interpret(graph, [ALL_CODES[None]], other)[y].max()
            for other in (KernelSet.XNNPACK, KernelSet.BUILTIN)
        }
        moved += len(set(limits.values())) > 1
    assert moved > 0, "the cases must tell the two roundings of the limit apart"


def test_sums_of_all_pairs_of_codes():
    """Among them are inputs that the vector loop of ADD rounds once, its tail twice."""
    scales, zero_points = (0.054107357, 0.07570724, 0.06911966), (5, 13, 7)
    left, right, total = map(Quantization, scales, zero_points)
    builder = GraphBuilder(0)
    names = [
        builder.graph.add_input(name, (1, 65533), DataType.INT8, quantization)
        for name, quantization in (("left", left), ("right", right))
    ]
    graph = builder.finish(builder.operation(Add(), names, total))
    pairs = [codes.reshape(1, -1)[:, :65533] for codes in np.meshgrid(ALL_CODES, ALL_CODES)]
    assert_exact(graph, pairs)
    values = [interpret(graph, pairs, kernel_set)["add_0"] for kernel_set in KERNEL_SETS[1:]]
    assert np.count_nonzero(values[0] != values[1])


@pytest.mark.parametrize("kernel_set", KERNEL_SETS)
def test_accumulators_beyond_float32(kernel_set):
    """Above 2**24 the accumulator itself is rounded to float32 in XNNPACK."""
    builder = GraphBuilder(1)
    x = builder.graph.add_input("x", (1, 3, 3, 40), DataType.INT8, Quantization(0.05, 3))
    codes = builder.rng.integers(-127, 128, (20, 40))
    scales = builder.rng.uniform(1e-4, 2e-4, 20)
    w = builder.graph.add_constant("w", codes, DataType.INT8, Quantization(scales))
    b = builder.graph.add_bias("b", builder.rng.integers(-(2**26), 2**26, 20), x, w)
    y = builder.operation(FullyConnected(keep_num_dims=True), [x, w, b], Quantization(4.0, 3))
    assert_exact(builder.finish(y), builder.inputs_for(4), [kernel_set])


def test_kernel_sets_do_round_differently():
    """Otherwise the comparisons above would prove less than they say."""
    builder = GraphBuilder(0)
    graph = builder.finish(residual_network(builder))
    inputs = builder.inputs_for(16)
    values = {kernel_set: interpret(graph, inputs, kernel_set) for kernel_set in KERNEL_SETS}
    for first, second in (("xnnpack", "builtin"), ("builtin", "reference")):
        assert any(
            not np.array_equal(values[first][name], values[second][name])
            for name in graph.activation_names
        )


def test_interpreter_refuses_inputs_that_do_not_fit():
    builder = GraphBuilder(0)
    x = builder.input((2, 3))
    graph = builder.finish(builder.operation(Dequantize(), [x], dtype=DataType.FLOAT32))
    with pytest.raises(ValueError, match=r"'input_0' needs int8.*float64"):
        interpret(graph, [np.zeros((1, 2, 3))])
    with pytest.raises(ValueError, match=r"1 input\(s\).*Received: 0"):
        interpret(graph, [])
