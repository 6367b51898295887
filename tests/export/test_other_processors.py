"""Subnets on the kernels of other processors, where those are installed: the same integers."""

import csv
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from qfa_tf import QFASupernet
from quantize_configs.keras_backend import keras
from tflite_tools.conversion import graph_of
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.inspection import inspect
from tflite_tools.lowering import ConversionOptions
from tflite_tools.runtimes.comparison import match_integers
from tflite_tools.runtimes.processes import execute_many
from tflite_tools.runtimes.registry import RUNTIMES
from tflite_tools.runtimes.runtime import MissingRuntimeError

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "arm64_subnets.py"
RESULTS = ROOT / "benchmarks" / "results" / "arm64_subnets.csv"
LIMIT = 300
OTHERS = ("arm64:xnnpack", "arm64:builtin", "micro")


def require(name):
    try:
        RUNTIMES[name].launch()
    except MissingRuntimeError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def subnets(small_space, eagerly):
    """(graph, its file with all tensors, an image) of two subnets with mixed bits."""
    keras.utils.set_random_seed(0)
    found = []
    with eagerly():
        net = QFASupernet(small_space)
        for seed in (1, 2):
            rng = np.random.default_rng(seed)
            arch = small_space.sample(rng)
            shape = (arch.resolution, arch.resolution, 1)
            calibration = net.calibrate([rng.uniform(0, 1, (8, *shape)).astype(np.float32)], arch)
            subnet = net.extract(arch, calibration, weight_container="int8")
            graph = graph_of(subnet, ConversionOptions("int8", "uint8", "float32", (0.0, 1.0)))
            image = rng.integers(0, 256, (1, *shape)).astype(np.uint8)
            found.append((graph, emit(graph, all_outputs=True), image))
    return found


@pytest.mark.parametrize("name", OTHERS)
def test_two_subnets(name, subnets):
    require(name)
    works = [(file, [image]) for _, file, image in subnets]
    outcomes = execute_many(RUNTIMES[name], works, LIMIT)
    for (graph, file, image), outcome in zip(subnets, outcomes, strict=True):
        names = [item[0] for item in inspect(file, delegation=False).outputs]
        values = dict(zip(names, outcome.outputs, strict=True))
        match = match_integers(graph, RUNTIMES[name], [image], values)
        assert (match.mismatches, match.first) == (0, None)
        assert match.elements > 1000


def test_the_recorded_subnets_are_exact():
    with open(RESULTS, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 100
    assert len({row["preset"] for row in rows}) == 4
    for kind in ("xnnpack", "builtin", "reference"):
        assert {row[f"{kind}_differing"] for row in rows} == {"0"}
    assert {row["micro_differing"] for row in rows} == {"0", ""}  # empty: it reads no INT4


@pytest.mark.slow
def test_the_script_finds_subnets_exact(tmp_path):
    for name in RUNTIMES:
        if name.startswith("arm64:"):
            require(name)
    require("micro")
    output = tmp_path / "subnets.csv"
    command = [sys.executable, SCRIPT, "--subnets=4", f"--output={output}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(output.read_text().splitlines()) == 5
