"""Seconds of a training step of one's own model: float, quantized by this library, and by TFMOT.

    python benchmarks/qat_step.py

MobileNetV2 of `tf_keras.applications`, ten classes, 96 pixels, batches of 32, SGD with momentum:
`train_on_batch` of the float model, of `quantize(model, BitPolicy((8, 8)))` with native kernels and
with TensorFlow's operators, and of TFMOT's `quantize_model` (8 bits, its defaults). Steps of all in
turns; medians of wall and of processor time (all threads), and their ratios to the float step.
Replaces the rows of benchmarks/results/qat_step.csv.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
import tensorflow_model_optimization as tfmot
from timed_steps import TimedSteps, measure_in_turns

from quantize_configs import BitPolicy, calibrate, quantize, use_native_kernels
from quantize_configs.keras_backend import keras

PIXELS, BATCH, CLASSES, RATE, MOMENTUM = 96, 32, 10, 1e-3, 0.9


def timed(model: keras.Model, batch: tuple[np.ndarray, np.ndarray]) -> TimedSteps:
    """The steps of a model, which is compiled for it."""
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(keras.optimizers.SGD(RATE, momentum=MOMENTUM), loss)
    return TimedSteps(lambda: model, batch)


def network() -> keras.Model:
    """The float model."""
    keras.utils.set_random_seed(0)
    shape = (PIXELS, PIXELS, 3)
    return keras.applications.MobileNetV2(shape, weights=None, classes=CLASSES)


def quantized(images: np.ndarray) -> keras.Model:
    """It with 8 bits, its ranges found."""
    model = quantize(network(), BitPolicy((8, 8)))
    calibrate(model, images)
    return model


def main() -> None:
    """Measures all four in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--steps", type=int, default=4, help="steps per turn")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (BATCH, PIXELS, PIXELS, 3)).astype(np.float32)
    batch = images, rng.integers(0, CLASSES, BATCH)
    measured = {
        "float": timed(network(), batch),
        "ours 8/8, TensorFlow's operators": timed(quantized(images), batch),
        "TFMOT 8/8": timed(tfmot.quantization.keras.quantize_model(network()), batch),
    }
    use_native_kernels()  # models that are traced from here on
    measured["ours 8/8, native kernels"] = timed(quantized(images), batch)
    measure_in_turns(measured.values(), args.rounds, args.steps)
    wall, processor = (
        {name: one.median(figure) for name, one in measured.items()}
        for figure in ("seconds", "processor_seconds")
    )
    for name in wall:
        row = {
            "name": name,
            "wall": round(wall[name], 4),
            "wall_ratio": round(wall[name] / wall["float"], 3),
            "processor": round(processor[name], 4),
            "processor_ratio": round(processor[name] / processor["float"], 3),
            "start_seconds": round(measured[name].start_seconds, 1),
            "rounds": args.rounds,
            "steps": args.steps,
        }
        print(row, flush=True)
        results_file.replace("qat_step", "name", row)


if __name__ == "__main__":
    main()
