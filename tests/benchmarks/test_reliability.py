"""Mutated genomes and files, a hundred of each, and the page with the figures of many more."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from qfa_tf.space import SearchSpace

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mutations():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import mutations

        yield mutations


def test_mutated_genomes_are_refused_or_members(mutations):
    counts = mutations.judge_genomes(SearchSpace.from_preset("digits_tiny"), 100, seed=1)
    assert sum(counts.values()) == 100
    assert set(counts) <= {"sentence", "member"}


@pytest.mark.slow
def test_mutated_files_are_refused_or_recognised(mutations, tmp_path):
    content, images = mutations.small_flatbuffer()
    rng = np.random.default_rng(1)
    batch = [mutations.mutated(content, rng) for _ in range(100)]
    counts = mutations.judge_flatbuffer(content, images, batch, tmp_path)
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
