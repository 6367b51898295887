"""A network with ImageNet weights, trained without labels for a few steps, against TFMOT's 8 bits.

    pip install 'qfa_tf[benchmarks]'
    python benchmarks/distillation.py [--steps=300] [--only=NAME ...]

EfficientNet-Lite0 at 128 pixels, taught by itself in float on 204 crops of photographs: ours by
`calibrate` and `distill` with 4-bit weights (8 bits of depthwise layers, the first and the last)
and 8- or 4-bit activations, TFMOT's own 8 bits by `quantize_model` and `fit` with the same loss,
optimizer, steps and batches. Equal answers with the float model in % and signal-to-noise ratio of
the logits in dB in LiteRT on 204 other crops, before and after; a row per way in
benchmarks/results/distillation.csv.
"""

import argparse
import os
import time
from collections.abc import Callable

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import efficientnet_lite
import results_file
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from photographs import crops
from pretrained import as_inputs, closeness, four_bits, run

import tflite_tools
from quantize_configs import (
    BitPolicy,
    calibrate,
    distill,
    prepare_for_deployment,
    quantize,
    use_native_kernels,
)
from quantize_configs.distillation import (
    LARGEST_NORM,
    LEARNING_RATE,
    MOMENTUM,
    output_loss,
)
from quantize_configs.keras_backend import keras

NAME = "distillation"
PIXELS = 128
CROPS = 12
"""Of each of 17 photographs, to train with and to compare on."""
BATCH_SIZE = 17
Trained = tuple[bytes, bytes]
"""Files before and after the training."""


def ours(activation_bits: int) -> Callable[[keras.Model, np.ndarray, int], Trained]:
    """`quantize`, `calibrate`, `distill`."""

    def way(model, images, epochs):
        kept = four_bits(model, images).layers
        quantized = quantize(model, BitPolicy((4, activation_bits), kept))
        calibrate(quantized, images, batch_size=BATCH_SIZE)
        before = _converted(quantized)
        distill(quantized, model, images, epochs=epochs, batch_size=BATCH_SIZE, verbose=False)
        return before, _converted(quantized)

    return way


def _converted(quantized: keras.Model) -> bytes:
    prepare_for_deployment(quantized)
    return tflite_tools.convert(quantized)


def of_tfmot(model: keras.Model, images: np.ndarray, epochs: int) -> Trained:
    """TFMOT's 8 bits; ranges of the first file are those of one pass without training."""
    quantized = tfmot.quantization.keras.quantize_model(model)
    steps = epochs * -(-len(images) // BATCH_SIZE)
    wanted = model.predict(images, batch_size=BATCH_SIZE, verbose=0)
    loss = output_loss(model.outputs[0])
    quantized.compile(keras.optimizers.SGD(0.0), loss)
    quantized.fit(images, wanted, BATCH_SIZE, verbose=0)
    before = _converted_by_tflite(quantized)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    optimizer = keras.optimizers.SGD(rate, momentum=MOMENTUM, global_clipnorm=LARGEST_NORM)
    quantized.compile(optimizer, loss)
    quantized.fit(images, wanted, BATCH_SIZE, epochs, verbose=0)
    return before, _converted_by_tflite(quantized)


def _converted_by_tflite(quantized: keras.Model) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(quantized)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


WAYS = {"ours 4/8": ours(8), "ours 4/4": ours(4), "TFMOT 8/8": of_tfmot}
"""Weight bits / activation bits."""


def main() -> None:
    """Measures all ways, or those that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--steps", type=int, default=300, help="rounded up to whole epochs")
    options = parser.parse_args()
    use_native_kernels()
    model = efficientnet_lite.pretrained(PIXELS)
    images, others = (as_inputs(crops(PIXELS, CROPS, seed=seed)) for seed in (0, 1))
    expected = model.predict(others, batch_size=BATCH_SIZE, verbose=0)
    epochs = -(-options.steps * BATCH_SIZE // len(images))
    for name in options.only:
        start = time.perf_counter()
        files = WAYS[name](model, images, epochs)
        found = {}
        for when, file in zip(("before", "after"), files, strict=True):
            columns = closeness(run(file, others), expected)
            found |= {f"{key}_{when}": value for key, value in columns.items()}
        row = {
            "name": name,
            "steps": epochs * len(images) // BATCH_SIZE,
            "bytes": len(files[1]),
            "images": len(others),
            **found,
            "seconds": f"{time.perf_counter() - start:.0f}",
        }
        print(row, flush=True)
        results_file.replace(NAME, "name", row)


if __name__ == "__main__":
    main()
