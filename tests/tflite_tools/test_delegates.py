"""Delegates as data, and what they leave to the CPU."""

import pytest
from random_graphs import GraphBuilder, residual_network

from tflite_tools.benchmarking.delegates import (
    UnknownDelegateError,
    check_delegate,
    delegates,
    find_delegate,
)
from tflite_tools.benchmarking.seen import seen_combinations
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.integer_graph.graph import DataType
from tflite_tools.operators.convolution import Conv2D, FullyConnected
from tflite_tools.operators.pooling import AveragePool2D
from tflite_tools.support.table import rows


@pytest.fixture(scope="module")
def two_bit_flatbuffer():
    """INT8, INT4 and INT2 dense layers, and a pool that XNNPACK does not take."""
    builder = GraphBuilder(4)
    x = builder.input((4, 4, 8))
    for dtype in (DataType.INT8, DataType.INT4, DataType.INT2):
        x = builder.linear(FullyConnected(keep_num_dims=True), x, (8, 8), dtype)
    quantization = builder.graph.tensor(x).quantization
    return emit(builder.finish(builder.operation(AveragePool2D(), [x], quantization)))


def test_every_delegate_is_complete():
    for name, delegate in delegates().items():
        assert delegate.name == name
        assert set(delegate.flags) <= {"host", "classic", "litert"}
        assert delegate.flags
        assert delegate.title
        assert delegate.source
        assert delegate.exact == name.startswith("cpu")
        assert (delegate.kernel_set is not None) == delegate.exact
        assert bool(delegate.libraries) == name.startswith("npu-")
        for flags in delegate.flags.values():
            assert all(flag.startswith("--") for flag in flags)
    assert [name for name, delegate in delegates().items() if delegate.deprecated] == ["nnapi"]


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("cpu", ["AVERAGE_POOL_2D"]),
        ("cpu-builtin", []),
        ("gpu", []),
        ("nnapi", ["FULLY_CONNECTED", "FULLY_CONNECTED"]),
        ("npu-qualcomm", []),
        ("npu-mediatek", ["FULLY_CONNECTED"]),
    ],
)
def test_fallbacks(name, operators, two_bit_flatbuffer):
    check = check_delegate(two_bit_flatbuffer, name)
    assert [item.operator for item in check.fallbacks] == operators
    assert check.operators == 4
    assert ("fall back" in str(check)) == bool(operators)
    if name == "npu-mediatek":
        assert "no INT2 weights with INT8 activations" in str(check)


def test_what_was_seen_comes_before_what_was_read():
    builder = GraphBuilder(1)
    x = builder.linear(Conv2D(), builder.input((4, 4, 8)), (8, 3, 3, 8), DataType.INT4)
    check = check_delegate(emit(builder.finish(x)), "gpu")
    (fallback,) = check.fallbacks
    assert fallback.operator == "CONV_2D"
    assert "left 3 of 3 case(s) when tried with ai-edge-litert" in fallback.reason
    builder = GraphBuilder(1)
    x = builder.input((4, 4, 8), DataType.INT16)
    y = builder.linear(Conv2D(), x, (8, 3, 3, 8), bias_type=DataType.INT64)
    (fallback,) = check_delegate(emit(builder.finish(y)), "gpu").fallbacks
    assert "refused 3 case(s)" in fallback.reason


@pytest.mark.parametrize("runtime", [one.runtime for one in delegates().values() if one.runtime])
def test_combinations_were_tried(runtime):
    """What is new since the last `python benchmarks/delegates.py` may be missing, little else."""
    tried = {combination for name, combination in seen_combinations() if name == runtime}
    accepted = [row.combination for row in rows().values() if not row.refused]
    known = {" ".join(part or "-" for part in one) for one in accepted}
    assert len(tried & known) > 0.8 * len(known)
    for (name, _), seen in seen_combinations().items():
        if name == runtime:
            assert seen.version
            assert not seen.mismatches
            assert seen.cases > 0
            assert bool(seen.problem) == (seen.ran < seen.cases)


def test_deprecated_and_unknown_ones_say_so(two_bit_flatbuffer):
    assert "deprecated" in str(check_delegate(two_bit_flatbuffer, "nnapi"))
    unknown = check_delegate(two_bit_flatbuffer, "npu-google-tensor")
    assert unknown.fallbacks is None
    assert "nobody tells" in str(unknown)


def test_wrong_names_list_the_right_ones():
    with pytest.raises(UnknownDelegateError, match=r"cpu, cpu-builtin.*Received: 'tpu'"):
        find_delegate("tpu")
    with pytest.raises(UnknownDelegateError, match=r"this computer\. Available there: cpu, cpu-b"):
        find_delegate("gpu").flags_for("host")


def test_xnnpack_takes_a_whole_network():
    builder = GraphBuilder(2)
    assert check_delegate(emit(builder.finish(residual_network(builder))), "cpu").fallbacks == ()
