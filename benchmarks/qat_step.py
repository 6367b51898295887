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
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
import tensorflow_model_optimization as tfmot

from quantize_configs import BitPolicy, calibrate, quantize, use_native_kernels
from quantize_configs.keras_backend import keras

PIXELS, BATCH, CLASSES, RATE, MOMENTUM = 96, 32, 10, 1e-3, 0.9


class Measured:
    """A compiled model and the times of its steps."""

    def __init__(self, name: str, model: keras.Model, batch: tuple[np.ndarray, np.ndarray]):
        self.name, self._model, self._batch = name, model, batch
        loss = keras.losses.SparseCategoricalCrossentropy()
        model.compile(keras.optimizers.SGD(RATE, momentum=MOMENTUM), loss)
        start = time.perf_counter()
        self._model.train_on_batch(*batch)
        self.start_seconds = time.perf_counter() - start
        self.wall: list[float] = []
        self.processor: list[float] = []

    def measure(self, steps: int) -> None:
        """Runs some steps and notes the seconds of each."""
        for _ in range(steps):
            start, used = time.perf_counter(), time.process_time()
            self._model.train_on_batch(*self._batch)
            self.wall.append(time.perf_counter() - start)
            self.processor.append(time.process_time() - used)

    def forget(self) -> None:
        """Forgets the times so far, of steps that warmed up."""
        self.wall.clear()
        self.processor.clear()


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
    found = [
        Measured("float", network(), batch),
        Measured("ours 8/8, TensorFlow's operators", quantized(images), batch),
        Measured("TFMOT 8/8", tfmot.quantization.keras.quantize_model(network()), batch),
    ]
    use_native_kernels()  # models that are traced from here on
    found.insert(1, Measured("ours 8/8, native kernels", quantized(images), batch))
    for one in found:
        one.measure(1)
        one.forget()
    for _ in range(args.rounds):
        for one in found:
            one.measure(args.steps)
    wall, processor = (
        {one.name: float(np.median(getattr(one, kind))) for one in found}
        for kind in ("wall", "processor")
    )
    for name in wall:
        row = {
            "name": name,
            "wall": round(wall[name], 4),
            "wall_ratio": round(wall[name] / wall["float"], 3),
            "processor": round(processor[name], 4),
            "processor_ratio": round(processor[name] / processor["float"], 3),
            "start_seconds": round(next(o for o in found if o.name == name).start_seconds, 1),
            "rounds": args.rounds,
            "steps": args.steps,
        }
        print(row, flush=True)
        results_file.replace("qat_step", "name", row)


if __name__ == "__main__":
    main()
