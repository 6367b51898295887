"""The programs in `apps/`, each in a process of its own."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = sorted(path.name for path in (ROOT / "apps").glob("*.py"))
_HELP_WITHOUT_TENSORFLOW = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
heavy = {"tensorflow", "tf_keras", "keras", "sklearn", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_needs_no_tensorflow(program):
    done = run("-c", _HELP_WITHOUT_TENSORFLOW, f"apps/{program}")
    assert done.returncode == 0, done.stderr
    assert f"python apps/{program} --" in done.stdout
    assert "--workdir" in done.stdout


@pytest.mark.parametrize("program", ["search", "export", "benchmark", "evaluate"])
def test_a_missing_run_is_said_at_once_and_alone(program, tmp_path):
    """Without TensorFlow, which takes seconds, and without the notes of its libraries."""
    done = run("-X", "importtime", f"apps/{program}.py", f"--workdir={tmp_path / 'none'}")
    told = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert len(told) == 1
    assert "Train first: python apps/train.py --recipe=digits" in told[0]
    assert not any(line.endswith(" tensorflow") for line in done.stderr.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search.py"], "workdir"),
        (["search.py", "--workdir={tmp}", "--population=1"], "population"),
        (["search.py", "--workdir={tmp}"], "Train first"),
        (["export.py", "--workdir={tmp}", "--index=x"], "index"),
        (["benchmark.py", "--workdir={tmp}"], "Train first"),
        (["evaluate.py", "--workdir={tmp}", "--split=train"], "split"),
        (["train.py", "--config=configs/none.py", "--workdir={tmp}"], "configs/none.py"),
        (
            ["train.py", "--config=configs/digits.py", "--workdir={tmp}", "--config.training.lr=1"],
            "has no key 'lr'",
        ),
        (
            [
                "train.py",
                "--config=configs/digits.py",
                "--workdir={tmp}",
                "--config.training.momentum=2.0",
            ],
            "momentum must be below 1",
        ),
        (
            [
                "train.py",
                "--config=configs/digits.py",
                "--workdir={tmp}",
                "--config.training.checkpoint_minutes=-1",  # the recipe leaves it out
            ],
            "checkpoint_minutes must be at least 0",
        ),
        (
            [
                "train.py",
                "--config=configs/digits.py",
                "--workdir={tmp}",
                "--architecture={tmp}.json",
            ],
            "There is no architecture file",
        ),
        (
            [
                "train.py",
                "--config=configs/digits.py",
                "--workdir={tmp}",
                "--architecture=docs/results/quickstart.json",
            ],
            "docs/results/quickstart.json: ",
        ),
    ],
)
def test_errors_are_sentences(arguments, message, tmp_path):
    program, *rest = [argument.format(tmp=tmp_path / "run") for argument in arguments]
    done = run(f"apps/{program}", *rest)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


_PROGRAM_THAT_FAILS = """
from qfa_tf import QFAError
from qfa_tf.runs import command_line
from qfa_tf.runs.errors import StoppedError
from quantize_configs.errors import DamagedFileError, MissingExtraError


def main():
    raise {error}


command_line.run_app(main)
"""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("QFAError('this is why')", 1),
        ("DamagedFileError('this is why')", 1),
        ("MissingExtraError('this is why, it', 'pymoo', 'search')", 1),
        ("StoppedError('this is why', 15)", 143),
    ],
)
def test_own_errors_are_sentences(error, status):
    done = run("-c", _PROGRAM_THAT_FAILS.format(error=error))
    assert done.returncode == status
    assert done.stderr.splitlines()[-1].startswith("-c: this is why")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("error", ["ValueError", "OSError", "ImportError", "KeyError"])
def test_other_errors_keep_their_traceback(error):
    done = run("-c", _PROGRAM_THAT_FAILS.format(error=f"{error}('pip install it')"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert f"{error}: " in done.stderr


def test_recipes_have_two_flags_and_names(tmp_path):
    """By name or path, with overrides behind either flag, but not both."""
    for flag in ("recipe", "config"):
        for recipe in ("digits", "configs/digits.py"):
            done = run(
                "apps/train.py", f"--{flag}={recipe}", f"--workdir={tmp_path / 'run'}",
                f"--{flag}.training.batch_size=0",
            )  # fmt: skip
            assert "batch_size must be at least 1" in done.stderr
    for flags in ([], ["--recipe=digits", "--config=digits"]):
        done = run("apps/train.py", f"--workdir={tmp_path / 'run'}", *flags)
        assert done.returncode == 1
        assert "Give --recipe (or --config), once." in done.stderr
    done = run("apps/train.py", "--recipe=fashion_mnist_oqa:w9", f"--workdir={tmp_path / 'run'}")
    assert "w9" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(tmp_path):
    done = run("apps/search.py", f"--workdir={tmp_path}", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
