"""docs/android.md against the programs, and the program against a phone."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from qfa_tf.runs.benchmarking.files import benchmark_path
from tflite_tools.benchmarking.delegates import delegates

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "android.md").read_text(encoding="utf-8")


def run(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def commands():
    block = re.search(r"```sh\n(.*?)```", TEXT, re.DOTALL)[1].replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


def test_ten_commands():
    assert len(commands()) == 10


@pytest.mark.parametrize("program", ["benchmark", "search", "export"])
def test_the_flags_of_the_commands_exist(program):
    used = {
        word.partition("=")[0]
        for command in commands()
        if f"apps/{program}.py" in command
        for word in command
        if word.startswith("--")
    }
    assert used
    text = run(f"apps/{program}.py", "--help").stdout
    known = {f"--{name}" for name in re.findall(r"--\[?(?:no\])?(\w+)", text)}
    assert used <= known


def test_every_delegate_is_described():
    rows = re.findall(r"^\| `([\w-]+)`", TEXT, re.MULTILINE)
    assert rows == list(delegates())


@pytest.mark.xdist_group("phone")
def test_the_program_and_a_phone(phone, phone_programs, flatbuffer, tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes(flatbuffer)
    flags = [f"--file={model}", f"--device=adb:{phone.serial}", f"--output={tmp_path}"]
    flags.append(f"--benchmark_model={phone_programs['classic']}")
    done = run("apps/benchmark.py", *flags, "--num_runs=6", "--min_seconds=0", "--rounds=2")
    assert done.returncode == 0, done.stderr
    assert "takes all 5 operators" in done.stdout
    assert "2 rounds differ by" in done.stdout
    report = benchmark_path(tmp_path, "model", f"adb:{phone.serial}-1", "json")
    assert '"device_name": "Acme Phone 7"' in report.read_text()
    assert "Inference timings in us" in report.with_suffix(".log").read_text()

    phone.variables["FAULT"] = "killed"
    done = run("apps/benchmark.py", *flags, "--delegate=gpu")
    assert done.returncode == 1
    assert re.fullmatch(r"benchmark.py: benchmark_model on '.*' was killed .*\n", done.stderr)
    assert "takes all 5 operators" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "Give --workdir, --file, or --table"),
        (["--file=x", "--profile", "--table=t.json"], "Give one of --profile, --compare, --run"),
        (["--file=/none.tflite"], "There is no model /none.tflite"),
        (["--file={model}", "--delegate=tpu"], "delegate must be one of cpu, cpu-builtin"),
        (["--file={model}", "--device=adb:1"], "needs LiteRT's benchmark_model"),
        (["--file={model}", "--device=phone"], "A device is 'host', or 'adb:SERIAL'"),
        (["--space=digits_tiny", "--table=t.json", "--max_bits=1"], "has the bit-widths [2, 3, 4"),
        (["--space=digits", "--table=t.json"], "The presets are"),
        (["--file={model}", "--clock=cpu", "--num_threads=2"], "counts one thread only"),
    ],
)
def test_mistakes(flags, message, flatbuffer, tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes(flatbuffer)
    done = run("apps/benchmark.py", *[flag.format(model=model) for flag in flags])
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
