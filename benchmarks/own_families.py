"""The networks of tf_keras.applications as supernets: what of the contract of a family they keep.

    python benchmarks/own_families.py
    python benchmarks/own_families.py --families DenseNet121

Random weights, normalization statistics of a batch of noise, gains of both signs, small images
(column `pixels`): what counts are the operators, not the accuracy. For each network: the largest
difference between its answers and those of the largest float subnet, and, to measure that by, the
largest one between its own answers and those it gives when computed in float64; one training step
of the smallest, the largest and a random subnet with the network as the teacher, and how often its
graph was traced; three random subnets calibrated, extracted, converted and verified on all kernel
sets; their costs against a count over the extracted models; space, architectures and genomes
through JSON; a search under a budget. Replaces the row of the network in
benchmarks/results/own_families.csv, which `scripts/write_own_network_tables.py` shows in
docs/own_network.md, and writes what `space.describe()` says into
benchmarks/results/own_families/.
"""

import argparse
import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
import tensorflow as tf

import tflite_tools
from qfa_tf import Architecture, CostModel, QFASupernet, QFATraining, SearchSpace, TrainingStage
from qfa_tf.runs.startup import skip_graph_rewriting
from qfa_tf.search import Evaluation, ExactNSGA2, search
from quantize_configs import use_native_kernels
from quantize_configs.files import write_text
from quantize_configs.keras_backend import keras
from quantize_configs.wrappers import WrappedModel

CLASSES, BATCH, SUBNETS, BITS, STATISTICS = 5, 4, 3, (4, 8), 256
UNIT, BYTES = (0.0, 1.0), (0.0, 255.0)
FAMILIES: dict[str, dict[str, Any]] = {
    "MobileNetV2": {"pixels": 32, "alpha": 0.35},
    "ResNet50V2": {"pixels": 32},
    "DenseNet121": {"pixels": 32},
    "InceptionV3": {"pixels": 75},
    "EfficientNetB0": {"pixels": 32, "pixel_range": BYTES},
    "RegNetX002": {"pixels": 32, "pixel_range": BYTES},
    "RegNetY002": {"pixels": 32, "pixel_range": BYTES},
    "Xception": {"pixels": 71},
}
"""Pixels, what a network reads for the images 0 and 1 (`UNIT` if not said), and options of the
constructor."""
KINDS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


class Planted:
    """Accuracy as a function of the genome, without a network."""

    checkpoint_key, calibration_key, split = "planted", "planted", "search_validation"
    calibration_images, images = 0, 1

    def evaluate(self, genomes, *, images=None, to_beat=None):
        """One evaluation per genome."""
        return [Evaluation(float(genome.sum() % 97) / 97, 1.0, 1) for genome in genomes]


def made(name: str) -> keras.Model:
    """The network with random weights, and with normalizations that matter."""
    keras.utils.set_random_seed(0)
    model = constructed(name)
    rng = np.random.default_rng(0)
    norms = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
        size = layer.moving_mean.shape
        if layer.scale:
            layer.gamma.assign(rng.uniform(0.7, 1.3, size) * rng.choice([-1.0, 1.0], size))
        layer.beta.assign(rng.normal(0.0, 0.2, size))
    model(read_as(name, noise(rng, STATISTICS, model.input_shape[1])), training=True)
    return model


def noise(rng: np.random.Generator, count: int, pixels: int) -> np.ndarray:
    """Images from 0 to 1 that differ in colours and contrast, float32 [count, pixels, pixels, 3].

    All images of plain noise have nearly one mean. Small maps of few of them vary so little that
    normalizations by such variances amplify other images, and the rounding of float32, by hundreds.
    """
    colours = rng.random((count, 1, 1, 3), np.float32)
    contrast = rng.random((count, 1, 1, 1), np.float32)
    return (1 - contrast) * colours + contrast * rng.random((count, pixels, pixels, 3), np.float32)


def read_as(name: str, images: np.ndarray) -> np.ndarray:
    """Images from 0 to 1 as the network reads them."""
    low, high = FAMILIES[name].get("pixel_range", UNIT)
    return images * (high - low) + low


def constructed(name: str, **more: Any) -> keras.Model:
    """The network as its constructor makes it."""
    options = {**FAMILIES[name], **more}
    pixels = options.pop("pixels")
    options.pop("pixel_range", None)
    make = getattr(keras.applications, name)
    return make(weights=None, classes=CLASSES, input_shape=(pixels, pixels, 3), **options)


def logits_in_float64(name: str, model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What the network answers to images from 0 to 1 when everything is computed in float64."""
    keras.backend.set_floatx("float64")
    try:
        wide = constructed(name, classifier_activation=None)
        wide.set_weights([weight.astype(np.float64) for weight in model.get_weights()])
        return wide(read_as(name, images.astype(np.float64)), training=False).numpy()
    finally:
        keras.backend.set_floatx("float32")


def measured(name: str) -> dict[str, Any]:
    """The row of one network."""
    start = time.perf_counter()
    model = made(name)
    images = noise(np.random.default_rng(1), BATCH, model.input_shape[1])
    pixels = FAMILIES[name].get("pixel_range", UNIT)
    space = SearchSpace.from_model(model, pixel_range=pixels, weight_bits=BITS)
    net = QFASupernet.from_model(model, space, pixel_range=pixels)
    calibration = net.calibration_of_model()
    answers = net.answers_in_float(images, calibration.architecture, calibration)
    own = net.teacher(images)
    difference = float(np.abs(answers - own).max())
    rounding = float(np.abs(own - logits_in_float64(name, model, images)).max())
    training = QFATraining(stages=(TrainingStage(BITS),), random_subnets=1, distillation="external")
    net.compile(keras.optimizers.SGD(1e-3), training=training)
    logs = net.train_on_batch(images, np.arange(BATCH) % CLASSES, return_dict=True)
    rng = np.random.default_rng(2)
    cost = CostModel(space)
    values = mismatches = wrong_costs = 0
    for _ in range(SUBNETS):
        arch = space.sample(rng)
        subnet = net.extract(arch, net.calibrate([images], arch))
        report = tflite_tools.verify(tflite_tools.convert(subnet), subnet, images, integer_images=1)
        values += report.elements
        mismatches += report.mismatches
        rows = cost.evaluate(space.encode(arch)[None])
        wrong_costs += (rows["macs"][0], rows["params"][0]) != count(subnet)
    described = results_file.RESULTS / "own_families"
    described.mkdir(exist_ok=True)
    write_text(described / f"{name}.txt", f"{space.describe()}\n")
    low, high = cost.bounds("tflite_bytes", space.restrict())
    found = search(
        space,
        cost,
        Planted(),
        strategy=ExactNSGA2(population=8, generations=3),
        constraints=f"tflite_bytes<={(low + high) / 2}",
    )
    return {
        "family": name,
        "pixels": model.input_shape[1],
        "parameters": model.count_params(),
        "sites": len(space.sites),
        "blocks": len(space.network.slots),
        "genes": space.n_genes,
        "float_difference": f"{difference:.1e}",
        "own_rounding": f"{rounding:.1e}",
        "loss_is_finite": bool(np.isfinite(logs["largest_loss"])),
        "traces": max(net.trace_counts().values()),
        "values": values,
        "mismatches": mismatches,
        "wrong_costs": wrong_costs,
        "json_differences": json_differences(space, rng),
        "smallest_kb": round(low / 1e3),
        "largest_kb": round(high / 1e3),
        "found_within_budget": len(found.front),
        "seconds": round(time.perf_counter() - start),
    }


def json_differences(space: SearchSpace, rng: np.random.Generator) -> int:
    """What does not come back from JSON as it was: the space, and 20 architectures."""
    found = int(SearchSpace.from_json(space.to_json()) != space)
    for genome in space.sample_genomes(rng, 20):
        arch = space.decode(genome)
        found += not np.array_equal(space.encode(arch), genome)
        found += Architecture.from_json(arch.to_json()) != arch
    return found


def count(model: keras.Model) -> tuple[int, int]:
    """(multiply-accumulates, parameters with a bias per channel) of the linear layers."""
    wrapped = WrappedModel(model)
    macs = parameters = 0
    for call in wrapped.graph.calls:
        if isinstance(call.layer, KINDS):
            *size, channels = call.layer.output_shape[1:]
            weights = int(np.prod(wrapped.weight(call.name).shape))
            macs += weights * int(np.prod(size))
            parameters += weights + channels
    return macs, parameters


def main() -> None:
    """Measures the networks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    args = parser.parse_args()
    use_native_kernels()
    skip_graph_rewriting()  # as the programs do
    for name in args.families:
        row = measured(name)
        print(row, flush=True)
        results_file.replace("own_families", "family", row)
        tf.keras.backend.clear_session()


if __name__ == "__main__":
    main()
