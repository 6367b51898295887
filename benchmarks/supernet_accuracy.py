"""Test accuracy of the smallest and the largest subnet of a trained supernet at each bit-width.

    python apps/train.py --config=configs/fashion_mnist.py --workdir=workdir/fashion_mnist
    python benchmarks/supernet_accuracy.py --workdir workdir/fashion_mnist

Each subnet is calibrated and evaluated without retraining, at every bit-width that all elastic
sites offer and in float. Appends to benchmarks/results/supernet_accuracy.csv, with the hours that
the training took.
"""

import argparse
import csv
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file

from qfa_tf.cost import CostModel
from qfa_tf.runs import Workdir, restore
from qfa_tf.runs.building import build_data, build_space
from qfa_tf.runs.config import calibration_batch_size
from qfa_tf.runs.measurement import Measurement
from qfa_tf.runs.training.final_table import uniform_bits
from quantize_configs.fake_quantization import FLOAT_BITS


def main() -> None:
    """Evaluates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="of a trained supernet")
    workdir = Workdir(parser.parse_args().workdir)
    config = workdir.config()
    space, data = build_space(config), build_data(config)
    net, key = restore(workdir)
    measurement = Measurement(data, calibration_batch_size(config), config.data.calibration_batches)
    cost = CostModel(space)
    for bits in (*uniform_bits(space), FLOAT_BITS):
        for name in ("smallest", "largest"):
            architecture = getattr(space, name)(bits=bits)
            calibration = measurement.calibrate(net, architecture)
            result = measurement.evaluate(net, architecture, calibration, "test")
            costs = cost.evaluate(space.encode(architecture)[None]) if bits != FLOAT_BITS else None
            row = {
                "space": space.name,
                "checkpoint": key,
                "subnet": name,
                "bits": "float" if bits == FLOAT_BITS else bits,
                "test_accuracy": round(100 * result["accuracy"], 2),
                "images": result["images"],
                "mflops_8bit": round(float(costs["mflops_8bit"][0]), 4) if costs else "",
                "weight_bytes": round(float(costs["weight_bytes"][0])) if costs else "",
                "training_hours": _training_hours(workdir),
            }
            print(f"{name:9} {row['bits']!s:5} {row['test_accuracy']:.2f} %", flush=True)
            results_file.append("supernet_accuracy", row)


def _training_hours(workdir: Workdir) -> float:
    with open(workdir.training_csv, newline="", encoding="utf-8") as file:
        return round(sum(float(row["seconds"]) for row in csv.DictReader(file)) / 3600, 2)


if __name__ == "__main__":
    main()
