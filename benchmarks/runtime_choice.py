"""What a network of 2 to 4 bits loses on other kernels than those its Keras model follows.

    python benchmarks/runtime_choice.py

Ten subnets with mixed bits of the supernet for digits that comes along, with a byte per weight.
Each is converted for each kernel set and run on each with the test images: accuracy of LiteRT and
of Keras, equal answers, largest difference of a logit. Replaces results/runtime_choice.csv
(a row for each network, choice and kernel set) and prints means over the networks.
"""

import argparse
import os
import statistics
from collections.abc import Iterator

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file

import tflite_tools
from qfa_tf import QFASupernet
from qfa_tf.data import load
from qfa_tf.runs.exporting.promises import resized_images
from quantize_configs.keras_backend import keras
from quantize_configs.kernels.registry import KERNELS
from tflite_tools.verification.promised_kernels import run_on_promised

NETWORKS, PIXELS, CALIBRATION_IMAGES, BATCHES = 10, 32, 256, 4


def measured(net: QFASupernet, splits, seed: int) -> Iterator[dict]:
    """A row for every choice and kernel set of one subnet."""
    arch = net.space.sample(np.random.default_rng(seed))
    known = splits.calibration.take(np.arange(CALIBRATION_IMAGES)).read_images()
    calibration = net.calibrate(np.array_split(known, BATCHES), arch)
    model = net.extract(arch, calibration, weight_container="int8")
    images = resized_images(splits.test.read_images(), arch)
    labels = np.asarray(splits.test.labels)
    for choice in KERNELS:
        content = tflite_tools.convert(model, runtime=choice)
        ours = model(images, training=False).numpy()
        for kernels in KERNELS:
            (found,) = run_on_promised(kernels, content, [images]).values()
            yield {
                "seed": seed,
                "choice": choice,
                "kernels": kernels,
                "images": len(images),
                "litert_accuracy": round(float(np.mean(found.argmax(1) == labels)), 4),
                "keras_accuracy": round(float(np.mean(ours.argmax(1) == labels)), 4),
                "equal_answers": round(float(np.mean(found.argmax(1) == ours.argmax(1))), 4),
                "largest_difference": round(float(np.abs(found - ours).max()), 4),
            }


def main() -> None:
    """Measures all networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=NETWORKS, help="how many")
    keras.utils.set_random_seed(0)
    net, splits = QFASupernet.from_pretrained("digits"), load("digits", PIXELS)
    rows: list[dict] = []
    for seed in range(parser.parse_args().networks):
        rows += measured(net, splits, seed)
        results_file.write("runtime_choice", rows)
        print(f"network {seed}: {rows[-1]}", flush=True)
    for choice in KERNELS:
        for kernels in KERNELS:
            chosen = [row for row in rows if (row["choice"], row["kernels"]) == (choice, kernels)]
            means = {
                name: statistics.mean(row[name] for row in chosen)
                for name in ("litert_accuracy", "keras_accuracy", "equal_answers")
            }
            print(
                f"for {choice:<9} on {kernels:<9} LiteRT {means['litert_accuracy']:.2%}, Keras "
                f"{means['keras_accuracy']:.2%}, equal {means['equal_answers']:.2%}, largest "
                f"difference {max(row['largest_difference'] for row in chosen):.3f}"
            )


if __name__ == "__main__":
    main()
