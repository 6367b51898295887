"""What it costs to keep the stem of the papers' spaces in float.

    python benchmarks/float_stem.py

The largest subnet of `mobilenet_v3_w1.0` with a quarter of its width and 4 bits, exported with its
stem at 8 bits, in float32 and in float16, from bytes of an image. Weights are untrained and images
random. Appends a row for each to benchmarks/results/float_stem.csv: bytes, delegate partitions,
operators in the file and those in float, mismatching values, agreement with Keras, latency.
"""

import argparse
import os

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file
from subnet_promises import Subnets, randomize

import tflite_tools
from qfa_tf import QFASupernet
from quantize_configs.keras_backend import keras
from tflite_tools.benchmarking.measurement import benchmark_all, open_device
from tflite_tools.benchmarking.options import BenchmarkOptions

FLOAT_SITES = ("int8", "float32", "float16")
IMAGES = 4


def main() -> None:
    """Measures the three types of the stem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="mobilenet_v3_w1.0", help="one with a float stem")
    parser.add_argument("--resolution", type=int, default=96, help="pixels")
    args = parser.parse_args()

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    space = Subnets(args.preset, "quarter", 1).space().replace(resolutions=(args.resolution,))
    net = QFASupernet(space)
    randomize(net, rng)
    arch = space.largest(bits=4)
    shape = (IMAGES, args.resolution, args.resolution, space.input_channels)
    images = rng.uniform(0, 1, shape).astype(np.float32)
    calibration = net.calibrate([images], arch)
    files, rows = {}, {}
    for name in FLOAT_SITES:
        subnet = net.extract(arch, calibration, float_sites=name)
        files[name] = tflite_tools.convert(subnet, input_type="uint8", pixel_range=(0.0, 1.0))
        report = tflite_tools.verify(files[name], subnet, images)
        xnnpack, *_ = report.integers.kernel_sets
        print(report.integers, flush=True)
        rows[name] = {
            "preset": args.preset,
            "width": "quarter",
            "resolution": args.resolution,
            "float_sites": name,
            "file_bytes": len(files[name]),
            "partitions": xnnpack.partitions,
            "fallbacks": len(xnnpack.fallbacks),
            "operators": len(tflite_tools.inspect(files[name], delegation=False).layers),
            "float_operators": "; ".join(report.integers.float_operators),
            "values": report.elements,
            "mismatches": report.mismatches,
            "top1_agreement": report.top1_agreement,
        }
    with open_device("host") as device:
        options = BenchmarkOptions(num_runs=200, min_seconds=1.0, rounds=6, clock="cpu")
        measured = benchmark_all(files, device, options, measure_memory=False)
    for name, row in rows.items():
        row["median_cpu_ms"] = round(measured[name].median_ms, 3)
        row["best_round_cpu_ms"] = round(min(measured[name].round_medians_ms), 3)
        print(row)
        results_file.append("float_stem", row)


if __name__ == "__main__":
    main()
