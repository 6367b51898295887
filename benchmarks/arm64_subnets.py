"""Random subnets of four families on the kernels of other processors: equal integers or not.

    sh scripts/install_runtimes.sh arm64 micro
    python benchmarks/arm64_subnets.py
    python benchmarks/arm64_subnets.py --subnets=4 --runtimes=arm64:xnnpack --output=few.csv

Every tensor of every subnet is compared bit for bit with the NumPy arithmetic of the kernels: the
three sets of ARM64 under emulation, and those for microcontrollers (which read no packed weights).
Weights are random, normalizations as training leaves them. Adds a row for each subnet to
benchmarks/results/arm64_subnets.csv; what is there already is kept and not computed again. The
processor that is emulated is that of QFA_TF_ARM64_CPU. Ends with an error when anything differed.
"""

import argparse
import os
import pathlib
import sys
import time
from collections.abc import Iterator

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from subnet_promises import Subnets, random_inputs, randomize, read, write

from qfa_tf import QFASupernet, SearchSpace
from quantize_configs.keras_backend import keras
from tflite_tools.conversion import graph_of
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.inspection import inspect
from tflite_tools.lowering import ConversionOptions
from tflite_tools.runtimes.comparison import match_integers
from tflite_tools.runtimes.emulated import DEFAULT_PROCESSOR, PROCESSOR_VARIABLE
from tflite_tools.runtimes.processes import execute_many
from tflite_tools.runtimes.registry import RUNTIMES, chosen_runtimes
from tflite_tools.runtimes.runtime import Execution, Runtime

layers = keras.layers
OUTPUT = pathlib.Path(__file__).parent / "results" / "arm64_subnets.csv"
SUBNETS = 100
PRESETS = ("digits_tiny", "mobilenet_v2_tiny", "resnet_bottleneck_tiny", "keras_model")
"""One of each family; the last one is `small_model`."""
ARM64 = tuple(name for name in RUNTIMES if name.startswith("arm64:"))
CONTAINERS = ("auto", "int8")
IMAGES = 1
LIMIT = 300.0
KEY = ("preset", "seed", "processor")


def small_model() -> keras.Model:
    """A network of no family: a residual block, a branch that is concatenated, two pools."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(16, 3, strides=2, padding="same", name="stem")(image)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.ReLU(6.0, name="relu6")(layers.BatchNormalization(name="depthwise_norm")(y))
    y = layers.Conv2D(16, 1, name="project")(y)
    x = layers.Add(name="sum")([x, layers.BatchNormalization(name="project_norm")(y)])
    parts = [layers.MaxPooling2D(name="largest")(x), layers.AveragePooling2D(name="mean")(x)]
    x = layers.Concatenate(name="both")(parts)
    x = layers.Conv2D(24, 1, activation="relu", name="mix")(x)
    return keras.Model(image, layers.Dense(6, name="logits")(layers.GlobalAveragePooling2D()(x)))


def space_of(preset: str) -> SearchSpace:
    """The space of a preset, or that of `small_model`."""
    if preset == PRESETS[-1]:
        return SearchSpace.from_model(small_model(), weight_bits=(2, 3, 4, 8))
    return Subnets(preset, "full", 1).space()


def graphs_of(preset: str, seeds: list[int]) -> Iterator[tuple[int, object, str]]:
    """(seed, integer graph, container of its weights) of random subnets."""
    keras.utils.set_random_seed(0)
    space = space_of(preset)
    net = QFASupernet(space)
    randomize(net, np.random.default_rng(0))
    for seed in seeds:
        rng = np.random.default_rng(seed)
        arch = space.sample(rng)
        shape = (arch.resolution, arch.resolution, space.input_channels)
        calibration = net.calibrate([rng.uniform(0, 1, (8, *shape)).astype(np.float32)], arch)
        container = CONTAINERS[seed % len(CONTAINERS)]
        options = ConversionOptions(container, "uint8", "float32", (0.0, 1.0))
        subnet = net.extract(arch, calibration, weight_container=container)
        yield seed, graph_of(subnet, options), container


def matched(runtime: Runtime, graphs: list, inputs: list) -> Iterator[dict]:
    """Columns of a runtime, for each graph."""
    for_reference = runtime.kernel_set is not None and runtime.kernel_set.value == "reference"
    files = [emit(graph, all_outputs=True, for_reference=for_reference) for graph in graphs]
    outcomes = execute_many(runtime, [(file, [x]) for file, x in zip(files, inputs, strict=True)])
    name = runtime.name.replace("arm64:", "")
    for graph, x, file, outcome in zip(graphs, inputs, files, outcomes, strict=True):
        if not isinstance(outcome, Execution):
            yield {f"{name}_differing": "", f"{name}_first": str(outcome)[:120]}
            continue
        names = [item[0] for item in inspect(file, delegation=False).outputs]
        values = dict(zip(names, outcome.outputs, strict=True))
        match = match_integers(graph, runtime, [x], values)
        yield {f"{name}_differing": match.mismatches, f"{name}_first": match.first or ""}


def measured(preset: str, seeds: list[int], runtimes: list[Runtime]) -> Iterator[dict]:
    """A row for each subnet."""
    began = time.perf_counter()
    found = list(graphs_of(preset, seeds))
    graphs = [graph for _, graph, _ in found]
    inputs = [random_inputs(np.random.default_rng(seed), graph, IMAGES) for seed, graph, _ in found]
    columns = [list(matched(runtime, graphs, inputs)) for runtime in runtimes]
    seconds = round((time.perf_counter() - began) / len(seeds), 1)
    processor = os.environ.get(PROCESSOR_VARIABLE, DEFAULT_PROCESSOR)
    for number, (seed, graph, container) in enumerate(found):
        sizes = (np.prod(graph.tensor(name).shape) for name in graph.activation_names[1:])
        row = {
            "preset": preset,
            "seed": seed,
            "processor": processor,
            "weight_container": container,
            "values": int(sum(sizes)) * IMAGES,
        }
        for column in columns:
            row |= column[number]
        yield row | {"seconds": seconds}


def main() -> None:
    """Measures the subnets that are missing in the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subnets", type=int, default=SUBNETS, help="over the families")
    parser.add_argument("--runtimes", default=",".join((*ARM64, "micro")), help="with commas")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT, help="CSV file")
    args = parser.parse_args()
    runtimes = chosen_runtimes(args.runtimes)
    for runtime in runtimes:
        runtime.launch()  # what is not installed is said before any work
    tf.config.run_functions_eagerly(True)  # a graph for each subnet takes longer than it saves
    rows = read(args.output)
    processor = os.environ.get(PROCESSOR_VARIABLE, DEFAULT_PROCESSOR)
    done = {tuple(row[name] for name in KEY) for row in rows}
    for number, preset in enumerate(PRESETS):
        share = args.subnets // len(PRESETS) + (number < args.subnets % len(PRESETS))
        missing = [n for n in range(share) if (preset, str(n), processor) not in done]
        if not missing:
            continue
        rows += measured(preset, missing, runtimes)
        write(args.output, rows)
        print(f"{preset}: {len(missing)} subnets, {rows[-1]['seconds']} s each", flush=True)
    here = [row for row in rows if row["processor"] == processor]
    total = 0
    for name in [key.removesuffix("_differing") for key in here[-1] if key.endswith("_differing")]:
        counts = [row[f"{name}_differing"] for row in here]
        ran = [int(count) for count in counts if str(count) != ""]
        total += sum(ran)
        print(f"{name}: {len(ran)} of {len(here)} subnets ran, {sum(ran)} values differ")
    print(f"{sum(int(row['values']) for row in here):,} values each")
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
