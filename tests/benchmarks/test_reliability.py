"""Mutated genomes and files, a hundred of each, and the page with the figures of many more."""

import json
import os
import pathlib
import subprocess
import sys

import mutations
import pytest

from qfa_tf.space import SearchSpace

ROOT = pathlib.Path(__file__).parents[2]
_MUTATIONS = """
import json, pathlib, sys
import numpy as np
from forked import finished
from mutations import judge_flatbuffers, mutated, write_small_flatbuffer

folder = pathlib.Path(sys.argv[1])
finished(write_small_flatbuffer, folder)
content, rng = (folder / "original.tflite").read_bytes(), np.random.default_rng(1)
print(json.dumps(judge_flatbuffers([mutated(content, rng) for _ in range(100)], folder)))
"""


def test_mutated_genomes_are_refused_or_members():
    counts = mutations.judge_genomes(SearchSpace.from_preset("digits_tiny"), 100, seed=1)
    assert sum(counts.values()) == 100
    assert set(counts) <= {"sentence", "member"}


@pytest.mark.slow
def test_mutated_files_are_refused_or_recognised(tmp_path):
    """In a process of its own, which has not used TensorFlow: it forks."""
    done = subprocess.run(
        [sys.executable, "-c", _MUTATIONS, str(tmp_path)],
        cwd=ROOT / "benchmarks",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert sum(counts.values()) == 100
    assert set(counts) <= {"sentence", "equal", "recognised"}
    assert counts["sentence"]


def test_the_page_has_the_figures_of_the_results():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/write_reliability_table.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
