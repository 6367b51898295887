r"""One supernet against networks that were trained for themselves: the long run of docs/study.md.

    apt-get install dataset-fashion-mnist
    python apps/train.py --recipe=fashion_mnist_64px --workdir=workdir/fashion_mnist_64px
    python apps/search.py --workdir=workdir/fashion_mnist_64px
    python benchmarks/long_run.py --workdir=workdir/fashion_mnist_64px
    python benchmarks/long_run_report.py

Parts, each of which goes on where it was when the program is killed and started again (`--only`
names some of them, `--list` all):

- supernet: the smallest and the largest subnet at each bit-width, for each of these the most
  accurate net of the searches that costs no more, and random subnets, all without retraining;
- alone NET: that net trained from scratch, by itself, by the recipe of the supernet and for as many
  images;
- finetuned NET: that net trained further for two epochs, alone, from the weights of the supernet;
- tflite SIZE: the smallest or largest net trained in float for as many images, and TFLite's 8 bits
  of it.

The uniform nets against those of the search are in benchmarks/results/long_run_front.csv.

Accuracies are those on the 10,000 test images, by which nothing is chosen. Differences from the
supernet are paired, image by image, with their 95 % interval. Replaces the row of each part in
benchmarks/results/long_run.csv; what the probes saw during the training goes into
benchmarks/results/long_run_curve.csv. Supernets of other numbers of steps keep rows of their own:
a column says how many steps the supernet had.
"""

import argparse
import csv
import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
from ml_collections import ConfigDict

from qfa_tf.compression.baselines import FLOAT, baselines
from qfa_tf.compression.baselines import TFLITE as TFLITE_8
from qfa_tf.cost import CostModel
from qfa_tf.runs import Workdir, finetune, restore, train, write_architecture
from qfa_tf.runs.architecture_files import architecture_text
from qfa_tf.runs.building import build_space
from qfa_tf.runs.config import calibration_batch_size, total_steps
from qfa_tf.runs.measurement import UNSEEN_SPLIT, Measurement, workdir_evaluator
from qfa_tf.runs.run_data import open_data
from qfa_tf.runs.searching.folder import finished_searches
from qfa_tf.runs.startup import skip_graph_rewriting
from qfa_tf.runs.training.final_table import uniform_bits
from qfa_tf.search import Evaluation
from qfa_tf.search.intervals import Z95, wilson
from qfa_tf.space import FLOAT_BITS, Architecture
from quantize_configs import float_counterpart
from quantize_configs.files import write_bytes

SIZES = ("smallest", "largest")
RANDOM, EPOCHS, SEED = 7, 2, 0
"""Random subnets, epochs of a fine-tuning, seed of the random subnets."""
SUPERNET, ALONE, FINETUNED, TFLITE = "supernet", "alone", "finetuned", "tflite"
PROBED = ("step", "subnet", "bits", "accuracy")
"""What is kept of a probe."""


class LongRun:
    """The parts, over the workdir of a trained and searched supernet.

    Args:
      workdir: Of the supernet.
    """

    def __init__(self, workdir: Workdir):
        self._workdir = workdir
        self._config = workdir.config()
        self._steps = total_steps(self._config)
        self._space = build_space(self._config)
        self._data = open_data(workdir, self._config)
        self._folder = workdir.path / "long_run"
        self._cost = CostModel(self._space)

    def parts(self) -> dict[str, Callable[[], None]]:
        """What can be run, in order."""
        nets = self.nets()
        fixed = [name for name in nets if not name.startswith("random")]
        found: dict[str, Callable[[], None]] = {SUPERNET: self.measure_supernet}
        for kind, run, names in (
            (FINETUNED, self.finetune, fixed),
            (TFLITE, self.train_float, SIZES),
            (ALONE, self.train_alone, nets),
        ):
            found |= {f"{kind} {name}": lambda run=run, name=name: run(name) for name in names}
        return found

    def nets(self) -> dict[str, Architecture]:
        """All nets by their names."""
        found = {
            f"{size} {bits} bits": getattr(self._space, size)(bits=bits)
            for bits in uniform_bits(self._space)
            for size in SIZES
        }
        found |= self._searched(list(found.values()))
        rng = np.random.default_rng(SEED)
        found |= {f"random {number}": self._space.sample(rng) for number in range(1, RANDOM + 1)}
        return found

    def _searched(self, uniform: Sequence[Architecture]) -> dict[str, Architecture]:
        """For each uniform net the most accurate one that a search found and that costs no more."""
        named = [self._space.encode(architecture) for architecture in uniform]
        known = {genome.tobytes() for genome in named}
        found = {}
        for search in finished_searches(self._workdir):
            for candidate in search.result().front:
                genome = np.array(candidate.genome, np.int32)
                if genome.tobytes() not in known:
                    found[genome.tobytes()] = candidate.accuracy, self._mflops(genome), genome
        chosen = {}
        for most in map(self._mflops, named):
            within = [member for member in found.values() if member[1] <= most]
            if within:
                _, cost, genome = max(within, key=lambda member: member[:2])
                chosen[cost] = genome
        return {
            f"searched {number}": self._space.decode(chosen[cost])
            for number, cost in enumerate(sorted(chosen), 1)
        }

    def _mflops(self, genome: np.ndarray) -> float:
        return float(self._cost.evaluate(genome[None], ["mflops_8bit"])["mflops_8bit"][0])

    def measure_supernet(self) -> None:
        """Every net without retraining."""
        for name, architecture in self.nets().items():
            if not self._answers_file(name, SUPERNET).exists():
                self._write(name, SUPERNET, architecture, self._measured(self._workdir, name), 0)
        self._write_front()
        self._write_curve()

    def _write_front(self) -> None:
        """Each uniform net against the best net of the search that costs no more."""
        nets = self.nets()
        costs = {name: self._mflops(self._space.encode(net)) for name, net in nets.items()}
        searched = [name for name in nets if name.startswith("searched")]
        for name in nets:
            cheaper = [rival for rival in searched if costs[rival] <= costs[name]]
            if not name.endswith("bits") or not cheaper:
                continue
            answers = [
                self._answers_file(one, SUPERNET).read_bytes() for one in (name, cheaper[-1])
            ]
            accuracies = [100 * np.mean(np.frombuffer(one, np.uint8) > 0) for one in answers]
            row = {
                "supernet_steps": self._steps,
                "uniform": name,
                "mflops_8bit": round(costs[name], 4),
                "accuracy": round(float(accuracies[0]), 2),
                "searched": cheaper[-1],
                "searched_mflops_8bit": round(costs[cheaper[-1]], 4),
                "searched_accuracy": round(float(accuracies[1]), 2),
                **paired(*answers),
            }
            results_file.replace("long_run_front", ("supernet_steps", "uniform"), row)

    def _write_curve(self) -> None:
        """Copies what the probes of the training saw."""
        with open(self._workdir.probes_csv, newline="", encoding="utf-8") as file:
            rows = [
                {"supernet_steps": self._steps} | {key: row[key] for key in PROBED}
                for row in csv.DictReader(file)
            ]
        results_file.replace("long_run_curve", ("supernet_steps", *PROBED[:-1]), *rows)

    def train_alone(self, name: str) -> None:
        """A net from scratch, as the supernet was trained."""
        config = ConfigDict(self._config.to_dict())
        architecture = self.nets()[name]
        with config.ignore_type():
            config.training.architecture = architecture_text(architecture)
            config.training.probe_epochs = 0
        workdir = Workdir(self._folder / f"alone {name}".replace(" ", "_"))
        train(config, workdir)
        self._write(name, ALONE, architecture, self._measured(workdir, name), self._steps)

    def finetune(self, name: str) -> None:
        """A net from the weights of the supernet."""
        file = self._folder / f"{name}.json".replace(" ", "_")
        architecture = self.nets()[name]
        write_architecture(architecture, file)
        tuned = finetune(
            self._workdir,
            architecture_file=file,
            epochs=EPOCHS,
            name=f"long_run_{name}".replace(" ", "_"),
        )
        steps = EPOCHS * self._config.training.steps_per_epoch
        assert tuned.unseen is not None
        self._write(name, FINETUNED, architecture, tuned.unseen[1], steps)

    def train_float(self, size: str) -> None:
        """A net in float, and TFLite's file of it."""
        config = ConfigDict(self._config.to_dict())
        architecture = getattr(self._space, size)(bits=FLOAT_BITS)
        with config.ignore_type():
            config.training.update(
                {
                    "architecture": architecture_text(architecture),
                    "stage_bits": ((FLOAT_BITS,),),
                    "stage_steps": (self._steps,),
                    "probe_epochs": 0,
                }
            )
        workdir = Workdir(self._folder / f"float_{size}")
        train(config, workdir)
        net, _ = restore(workdir)
        batches = self._config.data.calibration_batches
        measurement = Measurement(self._data, calibration_batch_size(self._config), batches)
        # Subnets are extracted with bits; the layers in float below them have these statistics.
        eight = getattr(self._space, size)(bits=8)
        calibration = dataclasses.replace(
            measurement.calibrate(net, architecture), architecture=eight
        )
        extracted = net.extract(eight, calibration, deployment_grids=False, float_sites="float32")
        model = float_counterpart(extracted)
        found, images = baselines(model, self._data), len(self._data.test)
        for kind, baseline in (("float", found[FLOAT]), ("tflite_8", found[TFLITE_8])):
            row = self._costs(eight) | {"file_bytes": len(baseline.flatbuffer)}
            self._append(f"{size} 8 bits", kind, self._steps, images, baseline.accuracy, row)

    def _measured(self, workdir: Workdir, name: str) -> Evaluation:
        evaluator = workdir_evaluator(workdir, self._space, self._data)
        return evaluator.evaluate_apart(self._space.encode(self.nets()[name]), UNSEEN_SPLIT)

    def _costs(self, architecture: Architecture) -> dict[str, Any]:
        costs = self._cost.evaluate(
            self._space.encode(architecture)[None], ["mflops_8bit", "tflite_bytes"]
        )
        return {
            "mflops_8bit": round(float(costs["mflops_8bit"][0]), 4),
            "file_bytes": round(float(costs["tflite_bytes"][0])),
        }

    def _answers_file(self, name: str, kind: str) -> pathlib.Path:
        return self._folder / "answers" / f"{name} {kind}".replace(" ", "_")

    def _write(
        self, name: str, kind: str, architecture: Architecture, found: Evaluation, steps: int
    ) -> None:
        assert found.answers is not None
        difference = {"difference": "", "difference_low": "", "difference_high": ""}
        if kind != SUPERNET:
            before = self._answers_file(name, SUPERNET)
            if not before.exists():
                raise SystemExit(f"Run the part {SUPERNET!r} first: {before} is missing.")
            difference = paired(before.read_bytes(), found.answers)
        row = self._costs(architecture) | difference
        self._append(name, kind, steps, found.images, found.accuracy, row)
        file = self._answers_file(name, kind)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, found.answers)

    def _append(
        self,
        name: str,
        kind: str,
        steps: int,
        images: int,
        accuracy: float,
        columns: Mapping[str, Any],
    ) -> None:
        """Puts a row in its place in the results file."""
        low, high = wilson(accuracy, images)
        row = {
            "supernet_steps": self._steps,
            "net": name,
            "kind": kind,
            "steps": steps,
            "test_images": images,
            "accuracy": round(100 * accuracy, 2),
            "low": round(100 * low, 2),
            "high": round(100 * high, 2),
            **dict.fromkeys(("difference", "difference_low", "difference_high"), ""),
            **columns,
        }
        print(f"{name}, {kind}: {row['accuracy']:.2f} %", flush=True)
        results_file.replace("long_run", ("supernet_steps", "net", "kind"), row)


def paired(before: bytes, after: bytes) -> dict[str, float]:
    """Difference in points of two nets on the same images, with its 95 % interval."""
    gained = np.frombuffer(after, np.uint8) > 0
    gained = gained.astype(float) - (np.frombuffer(before, np.uint8) > 0)
    mean, half = gained.mean(), Z95 * gained.std(ddof=1) / np.sqrt(len(gained))
    keys = ("difference", "difference_low", "difference_high")
    found = zip(keys, (mean, mean - half, mean + half), strict=True)
    return {key: round(100 * float(value), 2) for key, value in found}


def main() -> None:
    """Runs the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="of the trained and searched supernet")
    parser.add_argument("--only", nargs="+", metavar="PART", help="some parts, in this order")
    parser.add_argument("--list", action="store_true", help="print the names of the parts")
    args = parser.parse_args()
    skip_graph_rewriting()  # as the programs do
    parts = LongRun(Workdir(args.workdir)).parts()
    if unknown := sorted(set(args.only or ()) - set(parts)):
        parser.error(f"--only takes some of {', '.join(parts)}. Received: {', '.join(unknown)}.")
    if args.list:
        print("\n".join(parts))
        return
    for name in args.only or parts:
        parts[name]()


if __name__ == "__main__":
    main()
