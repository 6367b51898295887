"""LiteRT equals the integer simulation on 200 random subnets of all presets."""

import csv
import os
import pathlib
import subprocess
import sys

import pytest

from qfa_tf.space.presets import names

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks" / "subnet_promises.py"
SUBNETS = 200
KERNELS = [f"{kernels}_{n}" for kernels in ("xnnpack", "builtin", "reference") for n in (1, 2)]


@pytest.mark.slow
def test_subnets_of_all_presets(tmp_path):
    """All tensors, all kernel sets, one and two threads; the whole graph is one partition."""
    output = tmp_path / "subnets.csv"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--subnets", str(SUBNETS), "--output", output],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with open(output, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({(row["preset"], row["width"], row["seed"]) for row in rows}) == SUBNETS
    assert {row["preset"] for row in rows} == set(names())
    assert {row[kernels] for row in rows for kernels in KERNELS} == {"0"}
    assert {(row["partitions"], row["fallbacks"]) for row in rows} == {("1", "")}
    assert min(int(row["elements"]) for row in rows) > 100_000
    assert {"2", "3", "4", "8"} <= {bits for row in rows for bits in row["bits"].split()}
    assert {row["weight_container"] for row in rows} == {"auto", "int8"}
