"""The tables of pages that scripts write are those of the tracked results."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["keras_models", "own_network"])
def test_the_tables_are_up_to_date(page):
    subprocess.run(
        [sys.executable, str(ROOT / f"scripts/write_{page}_tables.py"), "--check"],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
