"""`apps/search.py` where no supernet is needed: predictions alone, and refusals."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from planted import planted_accuracy

from qfa_tf.cost import LatencyTable, operators
from qfa_tf.runs import Workdir
from qfa_tf.runs.searching.folder import find_search
from qfa_tf.search import fit_predictor
from qfa_tf.space import SearchSpace

ROOT = pathlib.Path(__file__).parents[2]
WITHOUT_TENSORFLOW = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
heavy = {"tensorflow", "tf_keras", "keras", "sklearn"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture
def space():
    return SearchSpace.from_preset("digits_tiny")


@pytest.fixture
def workdir(space, tmp_path):
    """A workdir with a config and a predictor, but without weights."""
    namespace = {}
    exec((ROOT / "configs/digits.py").read_text(), namespace)
    config = namespace["get_config"]()
    config.search.constraints = ("mflops_8bit<=0.06",)
    config.search.max_bits = 8
    config.search.predictor_population = 30
    config.search.predictor_generations = 8
    made = Workdir(tmp_path / "run")
    made.claim(config)
    genomes = space.sample_genomes(np.random.default_rng(0), 80)
    accuracy = np.array([planted_accuracy(genome) for genome in genomes])
    facts = {
        "checkpoint_key": "step-9", "calibration_key": "k", "split": "search_validation",
        "images": 100,
    }  # fmt: skip
    fit_predictor("gp", space, genomes, accuracy, seed=0, facts=facts).save(
        made.path / "predictor.npz"
    )
    return made


def run(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=90
    )


def test_a_search_on_predictions_needs_no_tensorflow(workdir, space, tmp_path):
    keys = operators(space, space.restrict())
    times = np.random.default_rng(0).uniform(1, 50, len(keys)).tolist()
    table = LatencyTable("phone", "x", {}, "2026", dict(zip(keys, times, strict=True)))
    table.write(tmp_path / "phone.json")
    done = run(
        "-c", WITHOUT_TENSORFLOW, "apps/search.py", f"--workdir={workdir}",
        "--strategy=predicted", f"--latency_table={tmp_path / 'phone.json'}",
        "--objectives=accuracy,latency_ms", "--constraint=latency_ms<=0.4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "on search_validation, predicted (a prediction" in done.stdout
    assert f"Next: python apps/search.py --workdir={workdir} --strategy=predictor" in done.stdout
    folder = find_search(workdir)
    assert folder.name == "default"
    result = folder.result()
    assert (result.objective, result.strategy) == ("latency_ms@phone", "predicted")
    assert result.chosen.costs["latency_ms@phone"] <= 0.4
    assert folder.pareto_png.is_file()
    report = folder.report.read_text()
    assert "<svg" in report
    assert "One step of bits less or more" in report
    assert not workdir.evaluations.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--constraint=mflops_8bit<=0.001"], "meets mflops_8bit<=0.001 (attainable minimum"),
        (["--constraint=tflite_bytes<=10"], "meets tflite_bytes<=10 (attainable minimum"),
        (["--constraint=latency_ms@p<=1"], "No table was given"),
        (["--objectives=accuracy"], "--objectives needs accuracy and one cost"),
        (["--objectives=accuracy,macs", "--minimize=params"], "--minimize must name the cost"),
        (["--minimize=speed"], "There is no cost 'speed'"),
        (["--latency_table=none.json"], "There is no latency table none.json"),
    ],
)
def test_refusals_are_one_sentence(workdir, arguments, message):
    done = run("apps/search.py", f"--workdir={workdir}", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not workdir.searches.exists()
