"""Measuring one trained run of the study; `benchmarks/study.py` calls it in a process of its own.

    python benchmarks/study_measurement.py --workdir=workdir/study/qfa-0

Writes `study.json` into the workdir: a row for each subnet that was calibrated and evaluated on the
search-validation images, without retraining. The subnets are the same for all runs.
"""

import argparse
import json
import time

from study_runs import RESULT_FILE, Run

from qfa_tf.cost import CostModel
from qfa_tf.runs import Workdir, restore
from qfa_tf.runs.building import build_batches, build_data, build_net, build_space
from qfa_tf.runs.config import calibration_batch_size, total_steps
from qfa_tf.runs.measurement import SEARCH_SPLIT, Measurement
from qfa_tf.runs.training.initial_weights import load_initial_weights
from quantize_configs.files import write_text


def measure(workdir: Workdir, run: Run) -> None:
    """Writes the rows of a finished run; of a phase of OQA, also those before its first step."""
    config = workdir.config()
    space, data = build_space(config), build_data(config)
    batch_size = calibration_batch_size(config)
    measurement = Measurement(data, batch_size, config.data.calibration_batches)
    cost = CostModel(space)
    nets = {"end": lambda: restore(workdir)[0]}
    if run.bits is not None:
        nets = {"start": lambda: _at_the_start(config, data), **nets}
    rows = []
    for moment, load in nets.items():
        net = load()
        for bits, number, subnet in run.subnets():
            began = time.perf_counter()
            calibration = measurement.calibrate(net, subnet)
            result = measurement.evaluate(net, subnet, calibration, SEARCH_SPLIT)
            figure = ""
            if bits != "float":
                figures = cost.evaluate(space.encode(subnet)[None])["mflops_8bit"]
                figure = round(float(figures[0]), 5)
            rows.append(
                {
                    "run": run.name,
                    "seed": run.seed,
                    "moment": moment,
                    "steps": 0 if moment == "start" else total_steps(config),
                    "bits": bits,
                    "subnet": number,
                    "mflops_8bit": figure,
                    "accuracy": round(100 * result["accuracy"], 3),
                    "loss": round(result["loss"], 5),
                    "images": result["images"],
                    "seconds": round(time.perf_counter() - began, 2),
                }
            )
    write_text(workdir.path / RESULT_FILE, json.dumps(rows, indent=1) + "\n")


def _at_the_start(config, data):
    """The supernet of a run before its first step."""
    net = build_net(config)
    load_initial_weights(net, config)
    net.start_activations(next(iter(build_batches(config, data, 0)))[0])
    return net


def main() -> None:
    """Measures the run of a workdir, whose name tells which one it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="workdir/study/RUN-SEED")
    workdir = Workdir(parser.parse_args().workdir)
    measure(workdir, Run.parse(workdir.path.name))


if __name__ == "__main__":
    main()
