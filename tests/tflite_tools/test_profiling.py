"""Profiles on the host, and finding the operators that a runtime names."""

import numpy as np
import pytest
from random_graphs import GraphBuilder, residual_network

from tflite_tools.benchmarking import litert_profiler, profiling
from tflite_tools.benchmarking.measurement import open_device
from tflite_tools.benchmarking.operator_units import OperatorUnit, as_models, operator_units
from tflite_tools.benchmarking.options import BenchmarkOptions
from tflite_tools.benchmarking.profile_report import OperatorTime, Profile
from tflite_tools.benchmarking.profiling import match, profile
from tflite_tools.devices.errors import DeviceOutputError
from tflite_tools.devices.profile_output import ProfileRow, parse_profile
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.verification.devices import random_images

EMPTY = "an empty model"
OPTIONS = BenchmarkOptions(num_runs=5, min_seconds=0)
HEAD = """============================== Run Order ==============================
\t[node type]\t[start]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]
"""
POOL = "\t AVERAGE_POOL_2D\t 0.090\t 0.070\t 0.060\t 40.000%\t100.000%\t 0.000\t1\t[pool]:4\n"
CLASSIC = f"""
INFO: Profiling Info for Benchmark Initialization:
{HEAD}\t ModifyGraphWithDelegate\t 0.000\t 2.000\t 2.000\t 90.0%\t 90.000%\t 3.000\t1\tModify/0
INFO: Operator-wise Profiling Info for Regular Benchmark Runs:
{HEAD}\t TfLiteXNNPackDelegate\t 0.000\t 0.100\t 0.090\t 60.000%\t 60.000%\t 0.000\t1\t[mix]:5
{POOL}============================== Top by Computation Time ==============================
{POOL}Number of nodes executed: 2
Delegate internal:
{HEAD}\t Delegate/Convolution (NHWC, QC8) IGEMM\t 0.000\t 0.05\t 0.041\t 55.0%\t 55.0%\t 0.0\t1\tC:0
\t     Delegate/Convert (NC)\t 0.041\t 0.05\t 0.030\t 45.0%\t100.0%\t 0.0\t1\tConvert (NC):1
"""


@pytest.fixture(scope="module")
def flatbuffer():
    builder = GraphBuilder(2)
    return emit(builder.finish(residual_network(builder)))


@pytest.fixture(scope="module")
def host():
    with open_device("host") as device:
        yield device


def test_every_operator_is_found(flatbuffer, host, monkeypatch):
    monkeypatch.setattr(profiling, "resolves", lambda *_: True)  # operators take less than 1 us
    units = operator_units(flatbuffer)
    found = profile(flatbuffer, host, OPTIONS)
    assert found.source == "profiler"
    assert [item.operators for item in found.operators] == ["+".join(u.operators) for u in units]
    linear = [item for item in found.operators if "CONV" in item.operators]
    assert linear
    assert all("Convolution" in i.kernel or "Fully Connected" in i.kernel for i in linear)
    assert found.sum_ms == pytest.approx(sum(found.by_layer().values()) / 1e3)
    assert list(found.by_layer(lambda layer: "all")) == ["all"]
    assert str(found).count("\n") > len(units)


def test_built_in_kernels(flatbuffer, host, monkeypatch):
    options = BenchmarkOptions(num_runs=5, min_seconds=0, delegate="cpu-builtin")
    monkeypatch.setattr(profiling, "resolves", lambda *_: True)
    found = profile(flatbuffer, host, options)
    assert [item.kernel for item in found.operators] == [item.operators for item in found.operators]
    assert not any(item.delegated for item in found.operators)


@pytest.mark.parametrize("reason", ["asked for", "no profiler", "too coarse"])
def test_one_by_one(reason, flatbuffer, host, monkeypatch):
    monkeypatch.setattr(profiling, "resolves", lambda *_: reason != "too coarse")
    if reason == "no profiler":
        monkeypatch.setattr(litert_profiler, "_CPU", 12345)
    found = profile(flatbuffer, host, OPTIONS, use_profiler=reason != "asked for")
    assert found.source == "single operators"
    assert len(found.operators) == len(operator_units(flatbuffer))
    assert {item.kernel for item in found.operators} == {"alone"}
    monkeypatch.setattr(profiling, "time_alone", lambda name, *_: 5.0 if name == EMPTY else 7.5)
    found = profile(flatbuffer, host, OPTIONS, use_profiler=reason != "asked for")
    assert {item.microseconds for item in found.operators} == {2.5}  # without the call


def test_whole_microseconds_do_not_resolve_small_models():
    rows = [ProfileRow("a", True, 5.0), *[ProfileRow("b", True, 0.0)] * 8]
    assert not profiling.resolves(rows, 0.005)
    rows = [ProfileRow("a", True, 50.0), *[ProfileRow("b", True, 10.0)] * 8]
    assert profiling.resolves(rows, 0.13)
    assert not profiling.resolves(rows, 0.5)  # most of the time is not in the operators


def test_the_profiler_keeps_its_notes_back(flatbuffer, capfd):
    litert_profiler.profile_events(flatbuffer, runs=2)
    assert capfd.readouterr().err == ""


def test_single_operators_compute_what_they_do_in_the_model(flatbuffer):
    """One after the other, they give the outputs of the whole model."""
    units = operator_units(flatbuffer)
    (details,) = runtime.load(flatbuffer).get_input_details()
    values = {details["name"]: random_images(flatbuffer, 1)}
    expected = runtime.run(flatbuffer, list(values.values())).outputs
    for model in as_models(flatbuffer, units):
        names = [item["name"] for item in runtime.load(model).get_input_details()]
        values |= runtime.run(model, [values[name] for name in names]).outputs
    for name, value in expected.items():
        np.testing.assert_array_equal(values[name], value)


def test_tables_of_classic():
    rows = parse_profile(CLASSIC)
    assert rows == [
        ProfileRow("Convolution (NHWC, QC8) IGEMM", True, 41.0),
        ProfileRow("Convert (NC)", True, 30.0),
        ProfileRow("AVERAGE_POOL_2D", False, 60.0),
    ]
    with pytest.raises(DeviceOutputError, match="no operator profile"):
        parse_profile("INFO: STARTING!")


def test_matching():
    def unit(layer, *operators, delegated=True):
        return OperatorUnit(layer, operators, (0,), (layer,), delegated)

    units = [
        unit("a", "QUANTIZE"),
        unit("a", "CONV_2D"),
        unit("b", "MEAN"),
        unit("c", "DEQUANTIZE", "HARD_SWISH", "QUANTIZE"),
        unit("d", "FULLY_CONNECTED"),
        unit("e", "AVERAGE_POOL_2D", delegated=False),
    ]
    rows = [
        ProfileRow("Convolution (NHWC, QC8) IGEMM", True, 5.0),  # the QUANTIZE has gone
        ProfileRow("Mean (ND) Reduce", True, 1.0),
        ProfileRow("Static Reshape (NC)", True, 0.5),
        ProfileRow("Invalid Unary Op", True, 2.0),
        ProfileRow("Fully Connected (NC, QS8, QC8W) GEMM", True, 3.0),
        ProfileRow("Something New", False, 9.0),
        ProfileRow("AVERAGE_POOL_2D", False, 4.0),
    ]
    found = match(units, rows)
    assert [item.microseconds for item in found] == [0.0, 5.0, 1.0, 2.5, 3.0, 4.0, 9.0]
    assert [item.layer for item in found] == ["a", "a", "b", "c", "d", "e", profiling.UNMATCHED]
    assert found[0].kernel == ""


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    from tflite_tools.benchmarking.profile_report import profile_figure

    times = [("a", "QUANTIZE", 1), ("a", "CONV_2D", 2), ("b", "MEAN", 3), ("c", "CONV_2D", 4)]
    operators = tuple(OperatorTime(layer, kind, "", True, time) for layer, kind, time in times)
    found = Profile("host", "cpu", "profiler", 0.01, operators)
    axes = profile_figure(found).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    drawn = {
        (names[round(bar.get_y() + bar.get_height() / 2)], bars.get_label(), bar.get_width())
        for bars in axes.containers
        for bar in bars
        if bar.get_width()
    }
    assert drawn == set(times)
    found.plot(tmp_path / "profile.png")
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")


def test_models_in_one_profile_are_timed_by_one_method(flatbuffer, tmp_path, monkeypatch):
    """Where the profiler is too coarse for one of them, it is not used for the others."""
    from qfa_tf.runs.benchmarking.run import profile_flatbuffers

    monkeypatch.setattr(profiling, "resolves", lambda *_: True)
    rows = profiling._host_rows
    calls = []

    def rows_of_the_first(*arguments):
        calls.append(1)
        return rows(*arguments) if len(calls) == 1 else None

    monkeypatch.setattr(profiling, "_host_rows", rows_of_the_first)
    contents = {"a": flatbuffer, "b": flatbuffer}
    found = profile_flatbuffers(contents, tmp_path, options=OPTIONS)
    assert {one.source for one in found.values()} == {"single operators"}
