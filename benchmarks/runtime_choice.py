"""What a network of 2 to 4 bits loses on other kernels than those its Keras model follows.

    python benchmarks/runtime_choice.py

Ten networks for digits (scikit-learn's, 8 x 8 pixels, a third held out), mixed weights and
activations of 2 to 4 bits, trained with quantizers. Each is converted for each kernel set and run
on each: accuracy of LiteRT and of Keras, equal answers, largest difference of a logit, values that
differ from the integer arithmetic. Replaces benchmarks/results/runtime_choice.csv (a row for each
network, choice and kernel set) and prints means over the networks.
"""

import argparse
import os
import statistics
from collections.abc import Iterator

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file
from sklearn.datasets import load_digits

import tflite_tools
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.keras_backend import keras
from quantize_configs.kernels.registry import KERNELS
from tflite_tools.flatbuffer.runtime import KernelSet

layers = keras.layers
NETWORKS, TEST_IMAGES, EPOCHS = 10, 597, 12
BITS = {
    "stem": (8, 8),
    "expand": (4, 3),
    "depthwise": (3, 2),
    "project": (2, 4),
    "second": (3, 2),
    "classifier": (4, 4),
}


def network() -> keras.Model:
    """Convolutions, a residual sum, a pool."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.Conv2D(48, 1, use_bias=False, name="expand")(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(y)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.Conv2D(16, 1, use_bias=False, name="project")(y)
    x = layers.Add()([x, layers.BatchNormalization()(y)])
    x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="second")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, name="classifier")(x))


def measured(seed: int) -> Iterator[dict]:
    """Trains one network; a row for every choice and kernel set."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.target))
    images = (digits.images[order, ..., None] / 16).astype(np.float32)
    labels = digits.target[order]
    keras.utils.set_random_seed(seed)
    model = quantize(network(), BitPolicy(layers=BITS))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.legacy.Adam(3e-3), loss)
    model.fit(images[TEST_IMAGES:], labels[TEST_IMAGES:], 64, EPOCHS, verbose=0)
    calibrate(model, images[TEST_IMAGES:])
    prepare_for_deployment(model)
    test, answers = images[:TEST_IMAGES], labels[:TEST_IMAGES]
    for choice in KERNELS:
        content = tflite_tools.convert(model, runtime=choice)
        promised = tflite_tools.verify(content, model, test, integer_images=4)
        ours = model.predict(test, batch_size=TEST_IMAGES, verbose=0)
        for kernel_set in KernelSet:
            found = answers_of(content, test, kernel_set)
            yield {
                "seed": seed,
                "choice": choice,
                "kernels": str(kernel_set),
                "images": len(test),
                "litert_accuracy": round(float(np.mean(found.argmax(1) == answers)), 4),
                "keras_accuracy": round(float(np.mean(ours.argmax(1) == answers)), 4),
                "equal_answers": round(float(np.mean(found.argmax(1) == ours.argmax(1))), 4),
                "largest_difference": round(float(np.abs(found - ours).max()), 4),
                "mismatches": promised.mismatches,
                "values": promised.elements,
            }


def answers_of(content: bytes, images: np.ndarray, kernel_set: KernelSet) -> np.ndarray:
    """Logits; of the built-in kernels, which look at the batch, image by image."""
    size = 1 if kernel_set is KernelSet.BUILTIN else len(images)
    parts = [
        tflite_tools.run(content, [images[start : start + size]], kernel_set)
        for start in range(0, len(images), size)
    ]
    return np.concatenate([next(iter(part.outputs.values())) for part in parts])


def main() -> None:
    """Measures all networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=NETWORKS, help="how many")
    rows = []
    for seed in range(parser.parse_args().networks):
        rows += measured(seed)
        results_file.write("runtime_choice", rows)
        print(f"network {seed}: {rows[-1]}", flush=True)
    for choice in KERNELS:
        for kernel_set in KernelSet:
            chosen = [r for r in rows if (r["choice"], r["kernels"]) == (choice, str(kernel_set))]
            means = {
                name: statistics.mean(row[name] for row in chosen)
                for name in ("litert_accuracy", "keras_accuracy", "equal_answers")
            }
            print(
                f"for {choice:<9} on {kernel_set:<9} LiteRT {means['litert_accuracy']:.2%}, Keras "
                f"{means['keras_accuracy']:.2%}, equal {means['equal_answers']:.2%}, largest "
                f"difference {max(row['largest_difference'] for row in chosen):.3f}"
            )
    print(f"{sum(row['mismatches'] for row in rows)} mismatches")


if __name__ == "__main__":
    main()
