"""Subnets with 7 x 7 filters on a processor: in XNNPACK alone, and with the built-in kernels' help.

    python benchmarks/large_filters.py

Subnets of the phone-sized supernet that comes along (`fashion_mnist`, 64 px): the largest with 8
and with 4 bits, and a random one with mixed bits. Each as TFLite's converter writes it (in float32,
and with 8 bits), and as `tflite_tools.convert` does for the runtimes "xnnpack" and "cpu". Processor
milliseconds of one thread, all in one run; values that differ from the integer arithmetic, on all
kernel sets. Replaces benchmarks/results/large_filters.csv and the table of docs/deployment.md.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
from page_tables import fill

import tflite_tools
from qfa_tf import QFASupernet
from qfa_tf.compression.baselines import converted_by_tflite
from qfa_tf.space import Architecture
from quantize_configs import float_counterpart

NAME = "large_filters"
SEED, IMAGES, VERIFIED = 3, 64, 4
WAYS = ("TFLite, float32", "TFLite, 8 bits", 'runtime="xnnpack"', 'runtime="cpu"')


def files(net: QFASupernet, architecture: Architecture, images: np.ndarray):
    """(way, file, mismatches) of a subnet."""
    calibration = net.calibrate([images], architecture, batches=1)
    extracted = net.extract(
        architecture, calibration, deployment_grids=False, float_sites="float32"
    )
    in_float = float_counterpart(extracted)
    for way, representative in zip(WAYS[:2], (None, images), strict=True):
        content = converted_by_tflite(in_float, representative)
        assert content is not None, "TFLite's converter takes these networks"
        yield way, content, ""
    model = net.extract(architecture, calibration)
    for way, runtime in zip(WAYS[2:], ("xnnpack", "cpu"), strict=True):
        content = tflite_tools.convert(model, runtime=runtime)
        report = tflite_tools.verify(content, model, images[:VERIFIED])
        yield way, content, report.mismatches


def rows() -> list[dict]:
    """A row for each file."""
    net = QFASupernet.from_pretrained("fashion_mnist")
    space = net.space
    images = np.random.default_rng(SEED).random((IMAGES, *[max(space.resolutions)] * 2, 1))
    images = images.astype(np.float32)
    found = []
    for name, architecture in {
        "largest, 8 bits": space.largest(bits=8),
        "largest, 4 bits": space.largest(bits=4),
        "random, mixed bits": space.sample(SEED),
    }.items():
        size = architecture.resolution
        for way, content, mismatches in files(net, architecture, images[:, :size, :size]):
            row = {
                "subnet": name,
                "way": way,
                "bytes": len(content),
                "partitions": tflite_tools.inspect(content).partitions,
                "milliseconds": round(tflite_tools.benchmark(content, clock="cpu").median_ms, 3),
                "mismatches": mismatches,
            }
            print(row, flush=True)
            found.append(row)
    return found


def table(found: list[dict]) -> list[list[str]]:
    """Milliseconds by subnet and way."""
    lines = [["", *WAYS]]
    for name in dict.fromkeys(row["subnet"] for row in found):
        cells = {
            row["way"]: f"{row['milliseconds']:.2f} (partitions: {row['partitions']})"
            for row in found
            if row["subnet"] == name
        }
        lines.append([name, *(cells[way] for way in WAYS)])
    return lines


def main() -> None:
    """Measures, and writes the results and the table."""
    found = rows()
    results_file.write(NAME, [results_file.dated(row) for row in found])
    fill(results_file.RESULTS.parents[1] / "docs" / "deployment.md", {NAME: table(found)})


if __name__ == "__main__":
    main()
