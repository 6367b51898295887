"""LiteRT against the integer simulation over random subnets of every preset: exactly equal or not.

    python benchmarks/subnet_promises.py
    python benchmarks/subnet_promises.py --subnets 20 --output subnets.csv

Every tensor of every subnet is compared bit for bit, with the XNNPACK, the built-in and the
reference kernels, on one thread and on two. Weights are random, normalizations as training leaves
them; supernets of the MobileNetV3 presets have a quarter of their width and smaller images, but for
some subnets of full width. Writes a row per subnet to benchmarks/results/subnet_promises.csv; what
is there already is kept and not computed again. Ends with an error when anything differed.
"""

import argparse
import csv
import dataclasses
import io
import itertools
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from qfa_tf import QFASupernet, SearchSpace
from qfa_tf.network import make_divisible
from qfa_tf.space.presets import names
from quantize_configs.files import write_text
from quantize_configs.keras_backend import keras
from tflite_tools.conversion import graph_of
from tflite_tools.integer_graph.tensors import DataType
from tflite_tools.lowering import ConversionOptions
from tflite_tools.verification.integers import compare_integers

OUTPUT = pathlib.Path(__file__).parent / "results" / "subnet_promises.csv"
SUBNETS = 200
SMALL_RESOLUTIONS = (32, 40, 48)
FULL_RESOLUTION = 128
FULL_SHARE = 50  # one subnet of full width in so many
THREADS = (1, 2)
CONTAINERS = ("auto", "int8")
INPUT_TYPES = ("float32", "uint8", "int8")
OUTPUT_TYPES = ("float32", "int8")
WIDTHS = ("width", "expand_width", "mix_width", "stem_width", "last_width", "widths")
PARTS = ("stem", "stages", "head")
"""Settings of families: those that are widths, and those that hold some."""
KEY = ("preset", "width", "seed")


@dataclasses.dataclass(frozen=True)
class Subnets:
    """Random subnets of one supernet.

    Attributes:
      preset: Name of the preset.
      width: "full", or "quarter" for a supernet of a quarter of the width.
      count: How many.
    """

    preset: str
    width: str
    count: int

    def space(self) -> SearchSpace:
        """The space that is sampled."""
        space = SearchSpace.from_preset(self.preset)
        if not is_large(self.preset):
            return space
        if self.width == "full":
            return space.replace(resolutions=(FULL_RESOLUTION,))
        return SearchSpace(quarter(space.family)).replace(resolutions=SMALL_RESOLUTIONS)


def is_large(preset: str) -> bool:
    """Whether a preset is for photographs."""
    return SearchSpace.from_preset(preset).resolutions[-1] >= FULL_RESOLUTION


def planned(subnets: int) -> list[Subnets]:
    """`subnets` of them spread over all presets."""
    presets = names()
    large = [preset for preset in presets if is_large(preset)]
    full = [
        subnets // FULL_SHARE // len(large) + (i < subnets // FULL_SHARE % len(large))
        for i in range(len(large))
    ]
    share, rest = divmod(subnets - sum(full), len(presets))
    plan = [
        Subnets(preset, "quarter" if preset in large else "full", share + (number < rest))
        for number, preset in enumerate(presets)
    ]
    return plan + [Subnets(*pair[:1], "full", pair[1]) for pair in zip(large, full, strict=True)]


def measured(subnets: Subnets, done: set[tuple[str, ...]]) -> Iterator[dict]:
    """A row for every subnet that is not among the keys `done`."""
    missing = [
        seed
        for seed in range(subnets.count)
        if (subnets.preset, subnets.width, str(seed)) not in done
    ]
    if not missing:
        return
    keras.utils.set_random_seed(0)
    space = subnets.space()
    net = QFASupernet(space)
    randomize(net, np.random.default_rng(0))
    for seed in missing:
        began = time.perf_counter()
        row = check_subnet(net, space.sample(np.random.default_rng(seed)), seed)
        key = dict(zip(KEY, (subnets.preset, subnets.width, seed), strict=True))
        yield {**key, **row, "seconds": round(time.perf_counter() - began, 1)}


def randomize(net: QFASupernet, rng: np.random.Generator) -> None:
    """Gives normalizations and biases values as training leaves them."""
    for weight in net.weights:
        role = weight.name.rsplit("/", 1)[-1].split(":")[0]
        if role == "gamma":
            weight.assign(rng.uniform(0.5, 2.0, weight.shape))
        elif role in ("beta", "bias", "reduce_bias", "expand_bias"):
            weight.assign(rng.normal(0, 0.4, weight.shape))


def check_subnet(net: QFASupernet, arch, seed: int) -> dict:
    """Calibrates, extracts and compares one subnet; options and inputs follow from the seed."""
    rng = np.random.default_rng(seed)
    shape = (arch.resolution, arch.resolution, net.space.input_channels)
    calibration = net.calibrate([rng.uniform(0, 1, (8, *shape)).astype(np.float32)], arch)
    input_type = INPUT_TYPES[seed % 3]
    options = ConversionOptions(
        weight_container=CONTAINERS[seed % 2],
        input_type=input_type,
        output_type=OUTPUT_TYPES[seed // 2 % 2],
        pixel_range=None if input_type == "float32" else (0.0, 1.0),
    )
    subnet = net.extract(arch, calibration, weight_container=options.weight_container)
    graph = graph_of(subnet, options)
    images = random_inputs(rng, graph, 2)
    reports = {
        threads: compare_integers(graph, [images], num_threads=threads) for threads in THREADS
    }
    xnnpack, *_ = reports[1].kernel_sets
    bits = list(itertools.chain(*arch.site_bits.values()))
    return {
        "resolution": arch.resolution,
        "sites": len(arch.site_bits),
        "bits": " ".join(map(str, sorted(set(bits)))),
        "weight_container": options.weight_container,
        "input_type": input_type,
        "output_type": options.output_type,
        "tensors": len(xnnpack.tensors),
        "elements": sum(
            item.elements for report in reports.values() for item in report.kernel_sets
        ),
        **{
            f"{item.kernel_set}_{threads}": item.mismatches
            for threads, report in reports.items()
            for item in report.kernel_sets
        },
        "partitions": xnnpack.partitions,
        "fallbacks": "; ".join(xnnpack.fallbacks),
    }


def random_inputs(rng: np.random.Generator, graph, count: int) -> np.ndarray:
    """Images of the type and shape that the graph takes."""
    tensor = graph.tensor(graph.inputs[0])
    shape = (count, *tensor.shape[1:])
    if tensor.dtype is DataType.FLOAT32:
        return rng.uniform(0, 1, shape).astype(np.float32)
    low, high = tensor.dtype.limits
    return rng.integers(low, high + 1, shape).astype(tensor.dtype.numpy_type)


def mismatches(row: dict) -> int:
    """Elements that differ, over kernel sets and threads."""
    return sum(int(value) for name, value in row.items() if name.endswith(("_1", "_2")))


def read(path: pathlib.Path) -> list[dict]:
    """The rows that an earlier run left."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: pathlib.Path, rows: list[dict]) -> None:
    """Replaces the file by all rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def quarter(part: Any) -> Any:
    """The settings of a network, or a part of them, with a quarter of every width."""
    if isinstance(part, tuple):
        return tuple(quarter(one) for one in part)
    if isinstance(part, int):
        return make_divisible(part / 4, 8)
    if not dataclasses.is_dataclass(part):
        return part
    names = [field.name for field in dataclasses.fields(part)]
    parts = {name: getattr(part, name) for name in names if name in WIDTHS or name in PARTS}
    return dataclasses.replace(part, **{name: quarter(one) for name, one in parts.items()})


def main() -> None:
    """Measures the subnets that are missing in the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subnets", type=int, default=SUBNETS, help="over all presets")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT, help="CSV file")
    args = parser.parse_args()
    rows = read(args.output)
    done = {tuple(row[name] for name in KEY) for row in rows}
    for subnets in planned(args.subnets):
        for row in measured(subnets, done):
            rows.append(row)
            write(args.output, rows)
            print(
                f"{len(rows)}/{args.subnets} {row['preset']} ({row['width']}), seed {row['seed']}: "
                f"{mismatches(row)} of {row['elements']:,} differ, {row['partitions']} "
                f"partition(s), {row['seconds']} s",
                flush=True,
            )
    different = sum(mismatches(row) for row in rows)
    split = sum(int(row["partitions"]) != 1 or bool(row["fallbacks"]) for row in rows)
    elements = sum(int(row["elements"]) for row in rows)
    print(
        f"{len(rows)} subnets: {different} of {elements:,} values differ; {split} subnets are not "
        "one delegate partition"
    )
    sys.exit(1 if different or split else 0)


if __name__ == "__main__":
    main()
