"""What becomes of negative inputs in OQA supernets: a learned offset, signed codes, or zeros.

    python benchmarks/signed_inputs.py [--seeds=3] [--steps=120] [--bits=3]

Per seed, a float supernet of the space `digits_tiny` is trained on scikit-learn's digits, then from
it one at `bits` bits for each value of `signed_inputs`, with equal images, subnets and steps. Each
row of the CSV is the accuracy of one subnet (the largest, the smallest, and random ones, the same
for all) on held-out images.
"""

import argparse
import csv
import pathlib
import statistics
import time

import numpy as np

from qfa_tf import OQATraining, QFASupernet, SearchSpace, TrainingStage
from qfa_tf.data import batches, load, training_batches
from qfa_tf.layers.input_grids import SIGNED_INPUTS
from quantize_configs.keras_backend import keras

RESULTS = pathlib.Path(__file__).parent / "results" / "signed_inputs.csv"
BATCH_SIZE = 64
CALIBRATION_BATCHES = 5


def trained(space, bits, data, seed, steps, parent=None, **options):
    """A supernet after one phase."""
    keras.utils.set_random_seed(seed)
    net = QFASupernet(space, activation_quantizer="lsq", shared_step=True, **options)
    recipe = OQATraining(
        stages=(TrainingStage((bits,)),), random_subnets=1, clip_norm=5.0, seed=seed
    )
    if parent is not None:
        recipe.start_from(parent, net)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - steps // 10, warmup_target=0.05, warmup_steps=steps // 10
    )
    net.compile(optimizer=keras.optimizers.SGD(rate, momentum=0.9, nesterov=True), training=recipe)
    dataset = training_batches(data.train, BATCH_SIZE, seed=seed)
    net.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)
    return net


def accuracies(net, data, subnets):
    """Accuracy by name of the subnet."""
    calibration_batches = list(batches(data.calibration, BATCH_SIZE))[:CALIBRATION_BATCHES]
    images = list(batches(data.search_validation, BATCH_SIZE))
    found = {}
    for name, architecture in subnets.items():
        calibration = net.calibrate(calibration_batches, architecture)
        found[name] = net.evaluate_architecture(architecture, images, calibration)["accuracy"]
    return found


def main():
    """Trains, evaluates, and writes the CSV after every supernet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--bits", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    space = SearchSpace.from_preset("digits_tiny")
    bits = options.bits
    uniform = space.replace(
        name=f"digits_tiny_w{bits}", weight_bits=(bits,), activation_bits=(bits,)
    )
    rng = np.random.default_rng(0)
    subnets = {"largest": uniform.largest(), "smallest": uniform.smallest()}
    subnets |= {f"random {index}": uniform.sample(rng) for index in range(4)}
    data = load("digits", space.resolutions[-1])
    rows = []
    for seed in range(options.seeds):
        parent = trained(space, 32, data, seed, options.steps)
        for kind in SIGNED_INPUTS:
            began = time.perf_counter()
            net = trained(uniform, bits, data, seed, options.steps, parent, signed_inputs=kind)
            found = accuracies(net, data, subnets)
            seconds = time.perf_counter() - began
            rows += [
                {
                    "signed_inputs": kind,
                    "bits": bits,
                    "seed": seed,
                    "steps": options.steps,
                    "subnet": name,
                    "accuracy": f"{accuracy:.4f}",
                    "seconds": f"{seconds:.0f}",
                }
                for name, accuracy in found.items()
            ]
            mean = statistics.mean(found.values())
            print(f"seed {seed} {kind:8} mean accuracy {mean:.4f}  {seconds:.0f} s", flush=True)
            with open(options.output, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, rows[0], lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
