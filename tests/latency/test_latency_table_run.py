"""Measuring latency tables: exact on a modelled device, and through kills, losses and mix-ups."""

import contextlib
import csv
import io
import json

import numpy as np
import pytest
import rich.console
from file_limit import files_no_larger_than
from modelled_device import CALL_US, ModelledDevice

from qfa_tf.cost import LatencyTable, LatencyTableError, operators
from qfa_tf.latency.measurement import TableSettings, fit, measure_latency_table
from qfa_tf.latency.prediction import plot_prediction, write_prediction_csv
from qfa_tf.space import Head, SearchSpace, Stage, Stem
from quantize_configs.files import FileWriteError
from tflite_tools.devices.errors import DeviceOfflineError

SETTINGS = TableSettings(passes=2, networks=6, checked=8)


@pytest.fixture
def console():
    return rich.console.Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def space():
    return SearchSpace(
        name="tiny",
        resolutions=(8, 12),
        stem=Stem(8, 3, 1, "relu6"),
        stages=(Stage(16, 2, (1, 2), (3, 5), (2, 3), "relu6"),),
        head=Head(16, None, "relu"),
        weight_bits=(4, 8),
        activation_bits=(4, 8),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=10,
    )


@pytest.fixture
def measure(space, monkeypatch, tmp_path, console):
    """Measures the table of the space on a device."""

    def run(device, path=tmp_path / "phone.json", bits=(4, 8), settings=SETTINGS):
        @contextlib.contextmanager
        def opened(name, files):
            yield device

        monkeypatch.setattr("tflite_tools.benchmarking.measurement.open_device", opened)
        return measure_latency_table(path, space, bits=bits, settings=settings, console=console)

    return run


def test_the_modelled_device_is_predicted_exactly(measure, space, console, tmp_path):
    device = ModelledDevice()
    table, prediction = measure(device)
    assert table.name == "phone"
    assert LatencyTable.load(tmp_path / "phone.json") == table
    assert sorted(table.rows) == operators(space, space.restrict((4, 8)))
    assert table.factor == pytest.approx(1, abs=1e-6)
    assert table.fixed_microseconds == pytest.approx(CALL_US, abs=1e-3)
    np.testing.assert_allclose(prediction.predicted_ms, prediction.measured_ms, rtol=1e-6)
    assert prediction.mean_absolute_error < 1e-6
    assert len(set(prediction.measured_ms)) > 4
    assert "mean absolute error 0.00 %" in console.file.getvalue()
    row = next(key for key in table.rows if key.operator == "dense")
    assert table.rows[row] == pytest.approx(4.1)
    different = {name for name in device.loaded if "px" in name}
    assert len(different) < len(table.rows)
    assert not (tmp_path / "phone.partial.jsonl").exists()


def test_networks_that_are_slower_than_their_operators(measure):
    table, prediction = measure(ModelledDevice(slow_networks=1.3))
    assert table.factor == pytest.approx(1.3, rel=1e-6)
    assert prediction.mean_absolute_error < 1e-6


def test_the_factor_fits_relative_errors():
    alone = np.array([1.0, 2.0, 10.0])
    assert fit(alone, 1.5 * alone + 0.25) == pytest.approx((1.5, 0.25))
    assert fit(alone, 1.5 * alone - 0.5)[1] == 0  # no negative constant


@pytest.mark.parametrize("loads", [8, 60, 110])
def test_a_lost_device_loses_nothing(loads, measure, tmp_path):
    complete = ModelledDevice()
    whole, _ = measure(complete, tmp_path / "whole" / "phone.json")
    lost = ModelledDevice(loads=loads)
    with pytest.raises(DeviceOfflineError):
        measure(lost)
    assert not (tmp_path / "phone.json").exists()
    progress = (tmp_path / "phone.partial.jsonl").read_bytes()
    (tmp_path / "phone.partial.jsonl").write_bytes(progress + b'[0, ["dep')  # as a kill leaves it
    device = ModelledDevice()
    table, _ = measure(device)
    assert table == whole
    counts = [sum("px" in name for name in run.loaded) for run in (complete, lost, device)]
    assert counts[0] == counts[1] + counts[2]
    assert min(counts) > 0


def test_only_what_is_missing_is_measured(measure, tmp_path):
    measure(ModelledDevice(), bits=(4,))
    before = LatencyTable.load(tmp_path / "phone.json")
    device = ModelledDevice()
    table, _ = measure(device, bits=(4, 8))
    assert before.rows.items() < table.rows.items()
    measured = {name for name in device.loaded if "px" in name}
    again = ModelledDevice()
    measure(again, bits=(4, 8))
    assert measured
    assert not any("px" in name for name in again.loaded)


def test_disturbed_measurements_are_repeated(measure, tmp_path):
    quiet = ModelledDevice()
    expected, _ = measure(quiet)
    name = next(name for name in quiet.loaded if name.startswith("dense"))
    device = ModelledDevice(disturbed={name: 3})
    table, _ = measure(device, tmp_path / "busy" / "phone.json")
    assert table == expected
    assert device.loaded.count(name) == 5  # the two fastest agree then
    assert quiet.loaded.count(name) == 2


def test_other_devices_are_refused(measure, tmp_path):
    with pytest.raises(DeviceOfflineError):
        measure(ModelledDevice(loads=30))
    with pytest.raises(LatencyTableError, match=r"half a measurement.*device is 'modelled, S1"):
        measure(ModelledDevice("another"))
    measure(ModelledDevice())
    with pytest.raises(LatencyTableError, match=r"measured on 'modelled.*Choose another file"):
        measure(ModelledDevice("another"))


def test_damaged_progress_is_refused(measure, tmp_path):
    path = tmp_path / "phone.partial.jsonl"
    path.write_text("nonsense\n")
    with pytest.raises(LatencyTableError, match="is damaged"):
        measure(ModelledDevice())
    assert path.read_text() == "nonsense\n"


@pytest.mark.parametrize("size", [0, 400, 700])
def test_a_full_disk_is_said_and_loses_nothing(measure, tmp_path, size):
    whole, _ = measure(ModelledDevice(), tmp_path / "whole" / "phone.json")
    with pytest.raises(FileWriteError, match="Could not write"), files_no_larger_than(size):
        measure(ModelledDevice())
    assert measure(ModelledDevice())[0] == whole


def test_settings(measure):
    table, prediction = measure(
        ModelledDevice(), settings=TableSettings(passes=1, networks=0, checked=0)
    )
    assert prediction is None
    assert (table.factor, table.fixed_microseconds) == (1, 0)
    assert table.versions["clock"] == "wall"
    with pytest.raises(LatencyTableError, match="passes of at least 1"):
        TableSettings(passes=0)


def test_files_of_the_error(measure, space, tmp_path):
    _, prediction = measure(ModelledDevice())
    write_prediction_csv(prediction, space, tmp_path / "error.csv")
    rows = list(csv.DictReader((tmp_path / "error.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert float(rows[0]["predicted_ms"]) == pytest.approx(prediction.predicted_ms[0], abs=1e-4)
    assert "px" in rows[0]["architecture"]
    pytest.importorskip("matplotlib")
    plot_prediction(prediction, "error", tmp_path / "error.png")
    assert (tmp_path / "error.png").read_bytes().startswith(b"\x89PNG")


def test_factors_in_files(tmp_path):
    table = LatencyTable("t", "device", {}, "2026-01-01", {}, 1.0, 1.25)
    table.write(tmp_path / "t.json")
    assert LatencyTable.load(tmp_path / "t.json") == table
    fields = json.loads((tmp_path / "t.json").read_text())
    del fields["factor"]  # as tables that people write
    (tmp_path / "t.json").write_text(json.dumps(fields))
    assert LatencyTable.load(tmp_path / "t.json").factor == 1
