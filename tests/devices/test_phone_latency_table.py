"""A latency table of a phone whose cable is pulled in between."""

import io
import subprocess

import pytest
import rich.console
from conftest import connect

from qfa_tf.cost import operators
from qfa_tf.latency.measurement import TableSettings, measure_latency_table
from qfa_tf.latency.progress import TableProgress
from qfa_tf.space import Head, SearchSpace, Stage, Stem
from tflite_tools.benchmarking.options import BenchmarkOptions, DeviceFiles
from tflite_tools.devices.errors import DeviceNotFoundError, DeviceOfflineError

pytestmark = [pytest.mark.xdist_group("phone"), pytest.mark.slow]
PULLED_AFTER = 4


@pytest.fixture
def space():
    return SearchSpace(
        name="tiny",
        resolutions=(8,),
        stem=Stem(8, 3, 1, "relu6"),
        stages=(Stage(8, 1, (1,), (3,), (2,), "relu6"),),
        head=Head(16, None, "relu"),
        weight_bits=(8,),
        activation_bits=(8,),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=4,
    )


def test_continues_where_the_cable_was_pulled(space, phone, phone_programs, tmp_path, monkeypatch):
    path = tmp_path / "phone.json"

    def measure():
        return measure_latency_table(
            path,
            space,
            device=f"adb:{phone.serial}",
            options=BenchmarkOptions(num_runs=5, min_seconds=0),
            files=DeviceFiles(benchmark_model=phone_programs["classic"], timeout=60),
            settings=TableSettings(passes=1, networks=2, checked=2),
            console=rich.console.Console(file=io.StringIO()),
        )

    add = TableProgress.add

    def pulled(progress, *row):
        add(progress, *row)
        if len(progress.times) == PULLED_AFTER:
            phone.unplug()

    with monkeypatch.context() as patch:
        patch.setattr(TableProgress, "add", pulled)
        with pytest.raises((DeviceOfflineError, DeviceNotFoundError)):
            measure()
    assert not path.exists()
    subprocess.run(["adb", "disconnect", phone.serial], capture_output=True, timeout=30)
    phone.answers = True
    connect(phone)
    phone.commands.clear()
    table, prediction = measure()
    assert sorted(table.rows) == operators(space, space.restrict())
    assert table.device == "Acme Phone 7, Acme Silicon AS-900, arm64-v8a, cpu, 1 thread(s)"
    assert prediction.measured_ms.min() > 0
    measured = [text for text in phone.commands if "--graph" in text]
    rounds = 5
    calls, subnets = 5, 2 * 2 * rounds
    assert len(measured) == calls + len(table.rows) - PULLED_AFTER + subnets
