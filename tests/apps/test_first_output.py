"""Every program tells what it does before it loads TensorFlow, and keeps the notes of libraries."""

import os
import pathlib
import subprocess
import sys

import pytest

from qfa_tf import SearchSpace

ROOT = pathlib.Path(__file__).parents[2]
REACHED = 77
_UNTIL_TENSORFLOW = f"""
import os, runpy, sys

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            sys.stdout.flush()
            os._exit({REACHED})

sys.meta_path.insert(0, Stop())
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
_RUN = "--workdir={run}"
_SUBNET = "--architecture={run}/subnet.json"
PROGRAMS = [
    ["train", "--recipe=digits", "--workdir={new}"],
    ["train", "--recipe=digits", "--workdir={new}", "--native_kernels=on"],
    ["import_checkpoint", "--pretrained=digits", "--workdir={new}"],
    [
        "compress",
        "--model=m.keras",
        "--data=digits",
        "--budget=1MB",
        "--steps=1",
        "--workdir={new}",
    ],
    ["search", _RUN],
    ["search", _RUN, "--strategy=predictor", "--workers=0"],
    ["evaluate", _RUN, _SUBNET],
    ["export", _RUN, _SUBNET],
    ["finetune", _RUN, _SUBNET],
    ["benchmark", "--table={new}.json", "--space=digits_tiny"],
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir of a trained supernet, made by a program that writes nothing to stderr."""
    path = tmp_path_factory.mktemp("first_output") / "run"
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("TF_CPP")}
    done = subprocess.run(
        [sys.executable, "apps/import_checkpoint.py", "--pretrained=digits", f"--workdir={path}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    subnet = SearchSpace.from_preset("digits_tiny").smallest(bits=4)
    (path / "subnet.json").write_text(subnet.to_json())
    return path


@pytest.mark.parametrize("words", PROGRAMS, ids=" ".join)
def test_a_line_comes_before_tensorflow(words, run, tmp_path):
    program, *flags = [word.format(run=run, new=tmp_path / "new") for word in words]
    done = subprocess.run(
        [sys.executable, "-c", _UNTIL_TENSORFLOW, f"apps/{program}.py", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == REACHED, done.stderr
    assert done.stdout.strip()
    assert not done.stderr
