"""The whole way to a phone and back: real adb client and server, fake phone, real inferences."""

import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import connect
from fake_adbd import SCRATCH

from tflite_tools.benchmarking.delegates import UnknownDelegateError
from tflite_tools.benchmarking.measurement import benchmark, benchmark_all, open_device
from tflite_tools.benchmarking.options import BenchmarkOptions, DeviceFiles
from tflite_tools.devices.adb import Adb
from tflite_tools.devices.errors import (
    DeviceNotFoundError,
    DeviceOfflineError,
    DeviceOutputError,
    DeviceProcessError,
    DeviceStorageError,
    DeviceTimeoutError,
    DeviceUnauthorizedError,
    WrongAbiError,
)

pytestmark = pytest.mark.xdist_group("phone")
QUICK = BenchmarkOptions(num_runs=7, min_seconds=0, warmup_runs=2)


@pytest.fixture
def files(phone_programs):
    return DeviceFiles(benchmark_model=phone_programs["classic"], timeout=60)


def measure(phone, files, flatbuffer, **changes):
    settings = {"num_runs": 7, "min_seconds": 0, "warmup_runs": 2} | changes
    return benchmark(flatbuffer, f"adb:{phone.serial}", files=files, **settings)


@pytest.mark.parametrize("flavour", ["classic", "litert"])
def test_report(flavour, phone, phone_programs, flatbuffer):
    files = DeviceFiles(benchmark_model=phone_programs[flavour], cpu_mask="f0")
    report = measure(phone, files, flatbuffer, num_threads=2)
    assert report.runs == 7
    assert report.device == f"adb:{phone.serial}"
    assert report.device_name == "Acme Phone 7"
    assert (report.soc, report.abi) == ("Acme Silicon AS-900", "arm64-v8a")
    assert report.system == "Android 16"
    assert report.temperatures_celsius == (31.5, 31.5)
    assert flavour in report.runtime
    assert report.percentiles
    assert 0 <= report.min_ms <= report.p5_ms <= report.median_ms <= report.p95_ms
    assert min(report.init_ms, report.first_ms) > 0
    assert report.peak_memory_mb == 7.25
    assert (report.partitions, report.delegated_operators) == (1, report.operators)
    assert report.fully_delegated
    assert "count=7 " in report.log
    (command,) = [text for text in phone.commands if "--graph" in text]
    assert "taskset f0" in command
    assert "--num_threads=2" in command
    assert "--warmup_runs=3" in command


def test_models_are_measured_in_turns(phone, files, flatbuffer):
    options = BenchmarkOptions(num_runs=6, min_seconds=0, warmup_runs=0, rounds=3)
    with open_device(f"adb:{phone.serial}", files) as device:
        reports = benchmark_all({"a": flatbuffer, "b": flatbuffer}, device, options)
    assert [report.runs for report in reports.values()] == [6, 6]
    assert all(len(report.round_medians_ms) == 3 for report in reports.values())
    graphs = [text.partition("--graph=")[2] for text in phone.commands if "--graph=" in text]
    names = [graph.split()[0].rpartition("/")[2] for graph in graphs]
    assert names == [f"{number}.tflite" for number in (0, 1, 1, 0, 0, 1)]


def test_old_builds_print_no_percentiles(phone, files, flatbuffer):
    phone.variables["OLD"] = "1"
    report = measure(phone, files, flatbuffer)
    assert not report.percentiles
    assert report.p5_ms is report.p95_ms is None
    assert report.median_ms == pytest.approx(report.mean_ms)
    assert "no percentiles" in str(report)


def test_operators_outside_the_delegate_are_seen(phone, files, fallback_flatbuffer):
    report = measure(phone, files, fallback_flatbuffer)
    assert report.partitions == 2
    assert report.fully_delegated is False


def test_wrong_delegates_name_the_right_ones(phone, files, phone_programs, flatbuffer):
    with pytest.raises(UnknownDelegateError, match=r"classic.*cpu, cpu-builtin, gpu, nnapi"):
        measure(phone, files, flatbuffer, delegate="npu-qualcomm")
    v2 = DeviceFiles(benchmark_model=phone_programs["litert"])
    with pytest.raises(UnknownDelegateError, match=r"v2 .*npu-qualcomm"):
        measure(phone, v2, flatbuffer, delegate="nnapi")
    with pytest.raises(DeviceNotFoundError, match=r"libLiteRtDispatch_Qualcomm\.so"):
        measure(phone, v2, flatbuffer, delegate="npu-qualcomm")


def test_libraries_come_along(phone, phone_programs, flatbuffer, tmp_path):
    library = tmp_path / "libLiteRtDispatch_Qualcomm.so"
    library.write_text("library")
    files = DeviceFiles(benchmark_model=phone_programs["litert"], libraries=(library,))
    measure(phone, files, flatbuffer, delegate="npu-qualcomm")
    (command,) = [text for text in phone.commands if "--graph" in text]
    folder = command.partition("ADSP_LIBRARY_PATH=")[2].split()[0]
    assert folder.startswith(f"{SCRATCH}/qfa_tf-")
    assert f"LD_LIBRARY_PATH={folder}" in command
    assert f"--use_npu=true --dispatch_library_path={folder}" in command


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("killed", DeviceProcessError, "was killed on device .* memory runs out"),
        ("truncated", DeviceOutputError, r"incomplete: its last line is .*count=3"),
        ("executable", WrongAbiError, r"\(arm64-v8a\) cannot execute .*not executable"),
    ],
)
def test_faults_of_the_program(fault, error, message, phone, files, flatbuffer):
    phone.variables["FAULT"] = fault
    with pytest.raises(error, match=message) as caught:
        measure(phone, files, flatbuffer)
    assert "\n" not in str(caught.value)


def test_timeout(phone, phone_programs, flatbuffer):
    phone.variables["FAULT"] = "hang"
    files = DeviceFiles(benchmark_model=phone_programs["classic"], timeout=3)
    with pytest.raises(DeviceTimeoutError, match="within 3 s"):
        measure(phone, files, flatbuffer)
    _wait_until(lambda: _processes_of(phone) == "")


def test_full_storage(phone, files, flatbuffer):
    phone.storage_bytes = 1000
    with pytest.raises(DeviceStorageError, match=r"is full .*No space left.*Free some"):
        measure(phone, files, flatbuffer)


def test_programs_for_other_processors_are_not_copied(phone, flatbuffer, tmp_path):
    program = tmp_path / "benchmark_model"
    shutil.copy(sys.executable, program)
    with pytest.raises(WrongAbiError, match=r"built for x86_64, but .* arm64-v8a, armeabi-v7a"):
        measure(phone, DeviceFiles(benchmark_model=program), flatbuffer)
    assert not any("mkdir" in text for text in phone.commands)


def test_other_programs_are_refused(phone, flatbuffer, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho usage: --colour --size\n")
    with pytest.raises(DeviceOutputError, match=r"\['colour', 'size'\].*benchmark_model"):
        measure(phone, DeviceFiles(benchmark_model=program), flatbuffer)


def test_unauthorised(phone, files, flatbuffer):
    subprocess.run(["adb", "disconnect", phone.serial], capture_output=True, timeout=30)
    phone.authorised = False
    connect(phone, "unauthorized")
    with pytest.raises(DeviceUnauthorizedError, match="Unlock its screen"):
        measure(phone, files, flatbuffer)


def test_offline(phone, files, flatbuffer):
    phone.unplug()
    with pytest.raises((DeviceOfflineError, DeviceNotFoundError), match=r"offline|not connected"):
        measure(phone, files, flatbuffer)


def test_unplugged_during_a_run(phone, files, flatbuffer):
    """The shell on the phone that holds the folder removes it by itself."""
    with open_device(f"adb:{phone.serial}", files) as device:
        model = device.load("a", flatbuffer, QUICK)
        assert len(phone.files()) == 1
        phone.unplug()
        with pytest.raises((DeviceOfflineError, DeviceNotFoundError)):
            model.run(QUICK)
    _wait_until(lambda: phone.files() == [])


def test_cable_pulled_while_the_program_runs(phone, files, flatbuffer):
    phone.variables["FAULT"] = "hang"
    pull = threading.Timer(1.5, phone.unplug)
    pull.start()
    with pytest.raises((DeviceOfflineError, DeviceNotFoundError), match=r"repeat|not connected"):
        measure(phone, files, flatbuffer)
    pull.join()
    _wait_until(lambda: phone.files() == [])


def test_unknown_flags_are_the_programs_fault(phone, files, flatbuffer):
    phone.variables["FAULT"] = "flags"
    with pytest.raises(DeviceProcessError, match="status 1: ERROR: Unconsumed"):
        measure(phone, files, flatbuffer)


def test_unknown_serial_numbers(phone, files, flatbuffer):
    with pytest.raises(DeviceNotFoundError, match=rf"'no such; x'.* not connected.*{phone.serial}"):
        benchmark(flatbuffer, "adb:no such; x", files=files)


def test_what_the_user_must_bring(phone, flatbuffer):
    with pytest.raises(DeviceNotFoundError, match="needs LiteRT's benchmark_model"):
        measure(phone, DeviceFiles(), flatbuffer)
    with pytest.raises(DeviceNotFoundError, match="no file /none"):
        measure(phone, DeviceFiles(benchmark_model="/none"), flatbuffer)
    with pytest.raises(ValueError, match="hexadecimal"):
        DeviceFiles(cpu_mask="f0; reboot")


def test_without_adb(files, flatbuffer, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceNotFoundError, match="no adb on the PATH"):
        benchmark(flatbuffer, "adb:1", files=files)


@pytest.mark.parametrize("word", ["a b", "$(touch x)", "'; touch x; '", "`touch x`", "ä\\n*", ""])
def test_words_reach_the_shell_quoted(word, phone):
    result = Adb(phone.serial).shell("printf", "%s", word)
    assert result.stdout == word
    assert not (phone.root / "x").exists()
    assert phone.commands[-1] == shlex.join(["printf", "%s", word])


def test_files_survive_the_way_there_and_back(phone, files):
    content = bytes(range(256)) * 3000
    with open_device(f"adb:{phone.serial}", files) as device:
        path = device.put(content, ".bin")
        assert device.get(path) == content
        device.remove(path)
        with pytest.raises(ValueError, match="adb failed"):
            device.get(path)


def test_a_killed_process_leaves_nothing_behind(phone, files, flatbuffer):
    program = (
        "import sys, time\n"
        "from tflite_tools.benchmarking.options import DeviceFiles\n"
        "from tflite_tools.benchmarking.measurement import open_device\n"
        "with open_device(sys.argv[1], DeviceFiles(benchmark_model=sys.argv[2])) as device:\n"
        "    print('open', flush=True)\n"
        "    time.sleep(60)\n"
    )
    arguments = [sys.executable, "-c", program, f"adb:{phone.serial}", str(files.benchmark_model)]
    root = str(pathlib.Path(__file__).parents[2])
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=root)
    assert process.stdout.readline() == b"open\n"
    assert len(phone.files()) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    _wait_until(lambda: phone.files() == [])


def _processes_of(phone):
    return subprocess.run(["pgrep", "-f", str(phone.root)], capture_output=True, text=True).stdout


def _wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()
