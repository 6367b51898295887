"""The tables of docs/own_network.md are those of the tracked results."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_the_tables_are_up_to_date():
    subprocess.run(
        [sys.executable, str(ROOT / "scripts/write_own_network_tables.py"), "--check"],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
