"""Generations per second of NSGA-II with predictor and cost model.

    python benchmarks/search.py

The paper's space (174 genes), a population of 500, a constraint, and an MLP of the paper's size
(three hidden layers of 600) whose weights are random: its speed does not depend on what it has
learned. Also the start of `apps/search.py --help`. Appends to benchmarks/results/search.csv.
"""

import argparse
import itertools
import pathlib
import subprocess
import sys
import time

import numpy as np
import results_file

from qfa_tf.cost import CostModel
from qfa_tf.search import PredictedFront, PredictingEvaluator, Predictor, search
from qfa_tf.search.encoding import GenomeEncoder
from qfa_tf.search.predictors import HIDDEN
from qfa_tf.space import SearchSpace

ROOT = pathlib.Path(__file__).parents[1]


def main() -> None:
    """Measures one space."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="mobilenet_v3_w1.2", help="a preset")
    parser.add_argument("--population", type=int, default=500)
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--constraint", default="mflops_8bit<=20")
    parser.add_argument("--repeats", type=int, default=3, help="measurements; the median counts")
    args = parser.parse_args()

    space = SearchSpace.from_preset(args.space)
    cost = CostModel(space)
    predictor = _predictor(space)
    strategy = PredictedFront(predictor, args.population, args.generations)
    rates = []
    for seed in range(args.repeats):
        begins = []

        def on_progress(progress, begins=begins):
            if progress.phase == "predict":
                begins.append(time.perf_counter())

        search(
            space,
            cost,
            PredictingEvaluator(predictor),
            strategy=strategy,
            constraints=args.constraint,
            seed=seed,
            on_progress=on_progress,
        )
        rates.append((len(begins) - 1) / (begins[-1] - begins[0]))
    row = {
        "space": space.name,
        "genes": space.n_genes,
        "population": args.population,
        "hidden": "-".join(map(str, HIDDEN)),
        "generations": args.generations,
        "generations_per_second": round(float(np.median(rates)), 1),
        "help_seconds": round(min(_help_seconds() for _ in range(3)), 2),
    }
    for name, value in row.items():
        print(f"{name:24} {value}")
    results_file.append("search", row)


def _predictor(space: SearchSpace) -> Predictor:
    rng = np.random.default_rng(0)
    widths = [GenomeEncoder(space).width, *HIDDEN, 1]
    arrays = {"target": np.array([0.6, 0.1])}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        weight = rng.normal(0, (2 / inputs) ** 0.5, (inputs, outputs))
        arrays[f"weight{i}"] = weight.astype(np.float32)
        arrays[f"bias{i}"] = np.zeros(outputs, np.float32)
    facts = {"checkpoint_key": "", "calibration_key": "", "split": "none", "images": 1}
    return Predictor("mlp", space, arrays, facts)


def _help_seconds() -> float:
    began = time.perf_counter()
    command = [sys.executable, "apps/search.py", "--help"]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
