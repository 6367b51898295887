"""The commands of README.md and docs/ that one computer can run, in the order of the pages.

They run in a folder of their own, on the supernet of digits that comes along instead of one that is
trained for minutes. What else the pages name is in NOT_RUN, with the reason.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from contexts import float_model, images
from documentation import ROOT, commands
from test_commands import program_of

SECONDS = 1800
NOT_RUN = {
    "needs a phone": lambda words: (
        any(
            word.startswith(("adb", "--device=adb")) or "PHONE" in word or "SERIAL" in word
            for word in words
        )
        or "phone.json" in " ".join(words)
        or "pixel8" in " ".join(words)
    ),
    "needs files of the official release": lambda words: (
        "b234_ps.pth" in " ".join(words) or "workdir/official" in " ".join(words)
    ),
    "installs": lambda words: words[0] in ("pip", "apt-get") or "install_runtimes" in words[-1],
    "serves until it is stopped": lambda words: (
        words[0] in ("tensorboard", "jupyter") or "http.server" in words
    ),
    "takes hours": lambda words: (
        (words[0] == "python" and words[1].startswith("benchmarks/"))
        or "fashion_mnist" in str(words)
    ),
    "is the gate, or the quickstart, which runs on its own": lambda words: (
        "pytest" in words or "scripts/test.sh" in words or "scripts/quickstart.sh" in words
    ),
    "is a pattern": lambda words: "..." in str(words) or "WORKDIR" in str(words),
    "trains for hours": lambda words: "mobilenet" in str(words),
    "is a name": lambda words: words[-1].startswith("apps/"),
    "writes into the checkout": lambda words: len(words) > 1 and words[1].startswith("scripts/"),
    "is a checkout's own text": lambda words: words[0].startswith("qfa-"),
}
"""Reasons, and which commands they hold for."""
SHORTER = {
    "apps/compress.py": {"--steps": "20", "--population": "4", "--generations": "2"},
    "--recipe=image_folder:photos": {
        "--recipe.training.stage_steps": "2,2,2",
        "--recipe.training.steps_per_epoch": "2",
        "--recipe.training.warmup_steps": "1",
        "--recipe.training.batch_size": "16",
    },
}
"""What commands with such a word are told besides, or instead: the pages ask for long work."""


def reason(words):
    return next((why for why, holds in NOT_RUN.items() if holds(words)), None)


RUN = [command for command in commands() if reason(command.words) is None]


def test_most_commands_of_programs_run():
    of_programs = {command for command in commands() if program_of(command.words) is not None}
    assert len([command for command in RUN if command in of_programs]) >= 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the programs, a workdir of digits, a model and photographs."""
    path = tmp_path_factory.mktemp("docs")
    float_model(3).save(path / "model.keras")
    write_photos(path / "photos")
    for name in ("apps", "configs", "scripts"):
        (path / name).symlink_to(ROOT / name)
    start = ["apps/import_checkpoint.py", "--pretrained=digits", "--workdir=workdir/digits"]
    for words in (start, ["apps/search.py", "--workdir=workdir/digits"]):
        assert_runs(words, path)
    return path


def write_photos(folder):
    import tensorflow as tf

    for number, image in enumerate((255 * images(channels=3, count=120)).astype(np.uint8)):
        path = folder / f"class_{number % 10}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())


def shortened(words):
    other = next((flags for word, flags in SHORTER.items() if word in words), {})
    kept = [word for word in words if word.partition("=")[0] not in other]
    return [*kept, *(f"{flag}={value}" for flag, value in other.items())]


def assert_runs(words, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN, ids=str)
def test_command_runs(command, folder):
    assert command.words[0] == "python"
    assert_runs(shortened(command.words[1:]), folder)
