"""Trainings in processes of their own."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 240


@contextlib.contextmanager
def training(workdir, *arguments, **environment):
    """A running `tiny_run.py`, killed in the end if it still runs."""
    environment = {key: str(value) for key, value in environment.items()}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/runs/tiny_run.py"), str(workdir), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(path, process):
    """Waits until a file exists; the process must not end before."""
    end = time.monotonic() + SECONDS
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.02)


def finish(process):
    """Waits for the end; returns (status, output)."""
    output = process.communicate(timeout=SECONDS)[0]
    return process.returncode, output
