"""Benchmark reports: what they contain, never how fast."""

import itertools
import json

import pytest
from random_graphs import GraphBuilder, residual_network

from tflite_tools.benchmarking import benchmark
from tflite_tools.emitter import emit
from tflite_tools.runtime import FlatbufferError


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
    assert json.loads(report.to_json()) == report.as_dict()
    assert "fully delegated" in str(report)


def test_min_seconds_prolongs_the_measurement(flatbuffer, monkeypatch):
    clock = itertools.count()  # One second passes at every look.
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    report = benchmark(flatbuffer, num_runs=1, warmup_runs=0, min_seconds=10.0)
    assert report.runs == 4
    assert report.median_ms == report.mean_ms == report.init_ms == 1000.0
    assert report.std_ms == 0.0


@pytest.mark.parametrize("device", ["adb:emulator-5554", "adb", "gpu"])
def test_other_devices_are_not_available_yet(flatbuffer, device):
    with pytest.raises(ValueError, match=rf"\['host'\] are available.*{device}"):
        benchmark(flatbuffer, device=device)


def test_bad_arguments_are_refused(flatbuffer, tmp_path):
    with pytest.raises(ValueError, match="num_runs=0"):
        benchmark(flatbuffer, num_runs=0)
    with pytest.raises(FileNotFoundError, match="no model at"):
        benchmark(tmp_path / "absent.tflite")
    with pytest.raises(FlatbufferError, match="cannot load"):
        benchmark(flatbuffer[:100])
    with pytest.raises(ValueError, match="no address"):
        benchmark(flatbuffer, device="host:1")
