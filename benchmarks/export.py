"""Seconds from a trained supernet to a verified .tflite file, by step.

    python benchmarks/export.py --space mobilenet_v3_w1.2

The subnet is the largest of the space, with bits drawn at random. Weights are untrained and images
random, which changes neither the operations nor their number. `export + verify` is the time of
extract, convert and verify; the CPU seconds tell the load of other programs apart. Appends to
benchmarks/results/export.csv.
"""

import argparse
import os
import time

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file

import tflite_tools
from qfa_tf import QFASupernet, SearchSpace


def main() -> None:
    """Measures one space."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="mobilenet_v3_w1.2", help="a preset")
    parser.add_argument("--images", type=int, default=32, help="for calibrate and verify")
    parser.add_argument("--seed", type=int, default=0, help="of bits, weights and images")
    args = parser.parse_args()

    rng = np.random.default_rng(args.seed)
    space = SearchSpace.from_preset(args.space)
    arch = _with_random_bits(space, rng)
    shape = (arch.resolution, arch.resolution, space.input_channels)
    images = rng.uniform(0, 1, (args.images, *shape)).astype(np.float32)
    net = QFASupernet(space)
    seconds, cpu_seconds = {}, {}

    def timed(step, call):
        began, cpu_began = time.perf_counter(), time.process_time()
        result = call()
        seconds[step] = time.perf_counter() - began
        cpu_seconds[step] = time.process_time() - cpu_began
        print(f"{step:<10} {seconds[step]:7.2f} s", flush=True)
        return result

    batches = [images[start : start + 16] for start in range(0, len(images), 16)]
    calibration = timed("calibrate", lambda: net.calibrate(batches, arch))
    subnet = timed("extract", lambda: net.extract(arch, calibration))
    flatbuffer = timed("convert", lambda: tflite_tools.convert(subnet))
    report = timed("verify", lambda: tflite_tools.verify(flatbuffer, subnet, images))
    total, cpu_total = (
        sum(times[step] for step in ("extract", "convert", "verify"))
        for times in (seconds, cpu_seconds)
    )
    xnnpack, *_ = report.integers.kernel_sets
    print(report.integers)
    print(f"export + verify {total:.1f} s ({cpu_total:.1f} s of CPU), {len(flatbuffer):,} bytes")
    results_file.append(
        "export",
        {
            "space": space.name,
            "resolution": arch.resolution,
            "sites": len(arch.site_bits),
            "images": args.images,
            **{f"{step}_s": round(value, 2) for step, value in seconds.items()},
            "export_verify_s": round(total, 2),
            "export_verify_cpu_s": round(cpu_total, 2),
            "file_bytes": len(flatbuffer),
            "integers": report.elements,
            "mismatches": report.mismatches,
            "top1_agreement": report.top1_agreement,
            "partitions": xnnpack.partitions,
            "fallbacks": len(xnnpack.fallbacks),
        },
    )


def _with_random_bits(space: SearchSpace, rng):
    """The largest architecture of a space with bits drawn for every site."""
    bits = [number for number in space.weight_bits if number in space.activation_bits]
    bits = [number for number in bits if number <= 8]
    high, low = (space.encode(space.largest(bits=number)) for number in (bits[-1], bits[0]))
    return space.decode(
        np.where(high != low, rng.choice(bits, high.shape), high).astype(high.dtype)
    )


if __name__ == "__main__":
    main()
