"""Benchmark reports: what they contain, never how fast."""

import itertools
import json

import numpy as np
import pytest
from random_graphs import GraphBuilder, residual_network

from tflite_tools.benchmarking.measurement import benchmark, benchmark_all, open_device
from tflite_tools.benchmarking.options import BenchmarkOptions
from tflite_tools.benchmarking.report import combine
from tflite_tools.devices.device import DeviceInfo, Round
from tflite_tools.devices.host import HostModel
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.runtime import FlatbufferError


@pytest.fixture(scope="module")
def flatbuffer():
    builder = GraphBuilder(2)
    return emit(builder.finish(residual_network(builder)))


def test_report(flatbuffer, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(flatbuffer)
    report = benchmark(path, num_runs=7, warmup_runs=1, min_seconds=0.0)
    assert report.runs == 7
    assert report.file_bytes == len(flatbuffer)
    assert report.fully_delegated
    assert report.partitions == 1
    assert 0 < report.p5_ms <= report.median_ms <= report.p95_ms
    assert report.p5_ms <= report.mean_ms
    assert report.std_ms >= 0
    assert min(report.init_ms, report.first_ms) > 0
    assert report.runtime.startswith("ai-edge-litert 2")
    assert report.device_name
    assert report.delegated_operators == report.operators
    assert report.peak_memory_mb is None or 0.05 < report.peak_memory_mb < 500
    assert len(report.log.split()) == 7
    assert json.loads(report.to_json()) == report.as_dict()
    assert "fully delegated" in str(report)


def test_min_seconds_prolongs_the_measurement(flatbuffer, monkeypatch):
    clock = itertools.count()  # One second passes at every look.
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    report = benchmark(flatbuffer, num_runs=1, warmup_runs=0, min_seconds=10.0)
    assert report.runs == 4
    assert report.median_ms == report.mean_ms == report.init_ms == 1000.0
    assert report.std_ms == 0.0


@pytest.mark.parametrize("device", ["gpu", "phone:1", ""])
def test_other_devices_are_refused(flatbuffer, device):
    with pytest.raises(ValueError, match=rf"'host', or 'adb:SERIAL'.*'{device}'"):
        benchmark(flatbuffer, device=device)


def test_several_models_in_turns(flatbuffer, monkeypatch):
    order, pauses = [], []
    run = HostModel.run
    monkeypatch.setattr(HostModel, "run", lambda model, o: (order.append(model), run(model, o))[1])
    monkeypatch.setattr("time.sleep", pauses.append)
    options = BenchmarkOptions(num_runs=7, min_seconds=0, rounds=3, cool_down=0.25)
    with open_device("host") as device:
        reports = benchmark_all(
            {"a": flatbuffer, "b": flatbuffer}, device, options, measure_memory=False
        )
    first, second = order[:2]
    assert order == [first, second, second, first, first, second]
    assert pauses == [0.25] * 6
    for report in reports.values():
        assert report.runs == 9
        assert len(report.round_medians_ms) == 3
        assert report.median_ms == sorted(report.round_medians_ms)[1]
        assert report.spread >= 0
        assert "3 rounds differ by" in str(report)


@pytest.mark.parametrize("delegate", ["cpu-builtin", "cpu-reference"])
def test_other_kernels(flatbuffer, delegate):
    report = benchmark(flatbuffer, num_runs=1, min_seconds=0, delegate=delegate)
    assert (report.partitions, report.delegated_operators) == (0, 0)
    assert not report.fully_delegated
    assert report.operators > 5


def test_percentiles_and_moments_of_all_rounds(flatbuffer):
    rounds = [
        Round(count=2, mean_ms=1.0, std_ms=0.0, min_ms=1.0, median_ms=1.0, p5_ms=1.0, p95_ms=1.0),
        Round(count=6, mean_ms=3.0, std_ms=2.0, min_ms=0.5, median_ms=2.0, p5_ms=0.5, p95_ms=7.0),
    ]
    info = DeviceInfo("adb:1", "Phone", "benchmark_model")
    report = combine(info, BenchmarkOptions(rounds=2), flatbuffer, rounds, [30.0, 31.0])
    assert (report.runs, report.mean_ms, report.min_ms) == (8, 2.5, 0.5)
    assert report.std_ms == pytest.approx(np.sqrt((2 * 1.5**2 + 6 * (4 + 0.25)) / 8))
    assert (report.median_ms, report.p5_ms, report.p95_ms) == (1.5, 0.75, 4.0)
    assert report.partitions is report.fully_delegated is report.init_ms is None
    assert "does not tell" in str(report)
    assert "30.0 to 31.0 C" in str(report)


def test_processor_time(flatbuffer, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("time.thread_time", lambda: next(clock) / 1e3)  # 1 ms at every look
    report = benchmark(flatbuffer, num_runs=3, min_seconds=0, clock="cpu")
    assert (report.clock, report.median_ms, report.std_ms) == ("cpu", pytest.approx(1), 0)
    assert "ms of CPU time median" in str(report)
    with pytest.raises(ValueError, match="one thread only"):
        benchmark(flatbuffer, clock="cpu", num_threads=2)


def test_bad_arguments_are_refused(flatbuffer, tmp_path):
    with pytest.raises(ValueError, match="num_runs must be a whole number"):
        benchmark(flatbuffer, num_runs=0)
    with pytest.raises(FileNotFoundError, match="no model at"):
        benchmark(tmp_path / "absent.tflite")
    with pytest.raises(FlatbufferError, match="cannot load"):
        benchmark(flatbuffer[:100])
    with pytest.raises(ValueError, match="no address"):
        benchmark(flatbuffer, device="host:1")
