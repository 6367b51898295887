"""What it costs to bring an image of bytes onto the grid of the first layer.

    python benchmarks/image_input.py

A convolution of 8 bits behind a Rescaling or Normalization, images of 224 pixels, one thread: with
the operators of floats that the layer stands for, and as `tflite_tools.convert` writes it. All
files are measured in turns, in one run. Replaces benchmarks/results/image_input.csv: operators over
the image, medians of LiteRT (XNNPACK, and built-in kernels), values that differ from the integer
arithmetic, and codes that differ from Keras.
"""

import os
import statistics
import time
import unittest.mock

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file

import tflite_tools
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.keras_backend import keras
from tflite_tools.flatbuffer.runtime import KernelSet, load
from tflite_tools.lowering import images

layers = keras.layers
SIZE, ROUNDS = 224, 200
FRONTS = {
    "x / 255": lambda: layers.Rescaling(1 / 255),
    "x / 127.5 - 1": lambda: layers.Rescaling(1 / 127.5, -1.0),
    "channels": lambda: layers.Normalization(
        mean=[123.7, 116.3, 103.5], variance=[3409.0, 3263.0, 3294.0]
    ),
}
FORMS = ("as floats", "as integers")
RUNTIMES = ("xnnpack", "reference")


def models(front: str):
    """(file, form, runtime it is made for, type, report) of every way to write one model."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(FRONTS[front]()(image))
    model = quantize(keras.Model(image, layers.GlobalAveragePooling2D()(x)), BitPolicy((8, 8)))
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3)).astype(np.float32)
    calibrate(model, pixels)
    prepare_for_deployment(model)
    for input_type in ("uint8", "int8"):
        for form in FORMS:
            for runtime in RUNTIMES[: 1 if form == FORMS[0] else None]:
                blocked = unittest.mock.patch.object(images._Image, "added", return_value=None)
                if form == FORMS[0]:
                    blocked.start()
                content = tflite_tools.convert(model, input_type=input_type, runtime=runtime)
                report = tflite_tools.verify(content, model, pixels, integer_images=2)
                if form == FORMS[0]:
                    blocked.stop()
                yield content, form, runtime, input_type, report


def interpreters(content: bytes) -> dict:
    """The file in LiteRT, with a random image, by kernel set."""
    found = {}
    for kernel_set in (KernelSet.XNNPACK, KernelSet.BUILTIN):
        interpreter = load(content, kernel_set)
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        limits = np.iinfo(given["dtype"])
        image = np.random.default_rng(1).integers(limits.min, limits.max, given["shape"])
        interpreter.set_tensor(given["index"], image.astype(given["dtype"]))
        interpreter.invoke()
        found[kernel_set] = interpreter
    return found


def main() -> None:
    """Measures all forms in turns."""
    rows, running, times = [], [], []
    for front in FRONTS:
        for content, form, runtime, input_type, report in models(front):
            found = [one.operator for one in tflite_tools.inspect(content).layers]
            xnnpack, *_ = report.integers.kernel_sets
            rows.append(
                {
                    "front": front,
                    "input_type": input_type,
                    "form": form,
                    "runtime": runtime,
                    "operators": " ".join(found[: found.index("CONV_2D")]) or "none",
                    "outside_xnnpack": len(xnnpack.fallbacks),
                    "values": report.elements,
                    "mismatches": report.mismatches,
                    "codes_off_keras": int(
                        sum(one.differing * one.elements for one in report.layers.layers)
                    ),
                }
            )
            running.append(interpreters(content))
            times.append({kernel_set: [] for kernel_set in running[-1]})
    for _ in range(ROUNDS):
        for each, taken in zip(running, times, strict=True):
            for kernel_set, interpreter in each.items():
                began = time.perf_counter()
                interpreter.invoke()
                taken[kernel_set].append(1e3 * (time.perf_counter() - began))
    results_file.RESULTS.joinpath("image_input.csv").unlink(missing_ok=True)
    for row, taken in zip(rows, times, strict=True):
        for kernel_set, milliseconds in taken.items():
            row[f"{kernel_set}_ms"] = round(statistics.median(milliseconds), 3)
            row[f"{kernel_set}_best_ms"] = round(min(milliseconds), 3)
        results_file.append("image_input", row)
        print(row)


if __name__ == "__main__":
    main()
