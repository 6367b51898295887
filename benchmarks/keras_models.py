"""Keras models that know nothing of this package, exported with mixed bits and verified.

    python benchmarks/keras_models.py

MobileNetV2 and MobileNetV3Small of tf_keras.applications (random weights, 64 pixels), a small
ResNet and a plain CNN: `quantize` with 4 and 8 bits in turns, a short training on synthetic images
(the place of a bright band is the label), `calibrate`, `prepare_for_deployment`, `convert` and
`verify`. Writes a row per model to benchmarks/results/keras_models.csv.
"""

import argparse
import csv
import io
import os
import pathlib
import time

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

import tflite_tools
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.files import write_text
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role
from quantize_configs.model_graph import ModelGraph
from quantize_configs.rewriting import as_quantizable

OUTPUT = pathlib.Path(__file__).parent / "results" / "keras_models.csv"
layers = keras.layers
SHAPE = (64, 64, 3)
CLASSES = 5
BATCH_SIZE = 16
LEARNING_RATES = {"plain CNN": 5e-4}  # nothing normalizes in it
PIXEL_RANGE = (-1.0, 1.0)


def task(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of noise with a faint band, and which of five places the band has."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    images = rng.integers(0, 216, (count, *SHAPE))
    for image, label in zip(images, labels, strict=True):
        image[10 * label + 4 : 10 * label + 14] += 40
    return images.astype(np.float32), labels


def resnet() -> keras.Model:
    """Two stages of two residual blocks, the second one with a shortcut convolution."""
    image = keras.Input(SHAPE, name="image")

    def convolved(x, width, size, strides=1, relu=True):
        x = layers.Conv2D(width, size, strides, "same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        return layers.ReLU()(x) if relu else x

    x = layers.MaxPooling2D()(convolved(image, 16, 5, 2))
    for width, strides in ((16, 1), (16, 1), (32, 2), (32, 1)):
        shortcut = x if x.shape[-1] == width else convolved(x, width, 1, strides, relu=False)
        y = convolved(convolved(x, width, 3, strides), width, 3, relu=False)
        x = layers.ReLU()(layers.Add()([y, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax")(x), name="resnet")


def plain_cnn() -> keras.Model:
    """Convolutions with biases, pools of both kinds, a hidden dense layer."""
    parts = [keras.Input(SHAPE, name="image")]
    for number, width in enumerate((16, 24, 32)):
        parts.append(layers.Conv2D(width, 3, padding="same", activation="relu"))
        parts.append((layers.MaxPooling2D, layers.AveragePooling2D)[number % 2](2))
    parts += [layers.Flatten(), layers.Dense(48, activation="relu")]
    return keras.Sequential([*parts, layers.Dense(CLASSES, activation="softmax")], name="plain_cnn")


MODELS = {
    "MobileNetV2 0.35": lambda: keras.applications.MobileNetV2(
        SHAPE, 0.35, weights=None, classes=CLASSES
    ),
    "MobileNetV3Small": lambda: keras.applications.MobileNetV3Small(
        SHAPE, weights=None, classes=CLASSES
    ),
    "ResNet": resnet,
    "plain CNN": plain_cnn,
}


def mixed(model: keras.Model) -> BitPolicy:
    """4-bit weights, 4-bit activations or both in turns; 8 bits at both ends."""
    names = [c.name for c in ModelGraph(as_quantizable(model)).calls if c.role is Role.LINEAR]
    pairs = ((4, 8), (8, 4), (4, 4))
    return BitPolicy((8, 8), {name: pairs[i % 3] for i, name in enumerate(names[1:-1])})


def measured(name: str, epochs: int, images: int) -> dict:
    """A row of the table."""
    began = time.perf_counter()
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.8  # of so few steps
    (train, train_labels), (test, test_labels) = task(4 * images, 0), task(images, 1)
    rescales = any(isinstance(layer, layers.Rescaling) for layer in model.layers)
    low, high = PIXEL_RANGE
    if not rescales:
        train, test = (low + data * ((high - low) / 255) for data in (train, test))
    policy = mixed(model)
    quantized = quantize(model, policy)
    rate = LEARNING_RATES.get(name, 2e-3)
    quantized.compile(keras.optimizers.legacy.Adam(rate), "sparse_categorical_crossentropy")
    quantized.fit(train, train_labels, BATCH_SIZE, epochs, verbose=2)
    calibrate(quantized, np.split(train, range(BATCH_SIZE, len(train), BATCH_SIZE)))
    prepare_for_deployment(quantized)
    content = tflite_tools.convert(
        quantized, input_type="uint8", pixel_range=None if rescales else PIXEL_RANGE
    )
    report = tflite_tools.verify(content, quantized, test, labels=test_labels, integer_images=8)
    print(report, flush=True)
    xnnpack, *_ = report.integers.kernel_sets
    first = report.layers.first_difference
    return {
        "model": name,
        "linear_layers": len(policy.layers) + 2,
        "float32_bytes": len(tf.lite.TFLiteConverter.from_keras_model(model).convert()),
        "file_bytes": len(content),
        "operators": len(tflite_tools.inspect(content, delegation=False).layers),
        "partitions": xnnpack.partitions,
        "fallbacks": len(xnnpack.fallbacks),
        "elements": report.elements,
        "mismatches": report.mismatches,
        "images": report.images,
        "top1_agreement": round(report.top1_agreement, 4),
        "keras_accuracy": round(report.keras_accuracy, 4),
        "litert_accuracy": round(report.litert_accuracy, 4),
        "first_difference": "" if first is None else first.name,
        "seconds": round(time.perf_counter() - began),
    }


def read(path: pathlib.Path) -> list[dict]:
    """The rows of an earlier run."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Measures the models one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--epochs", type=int, default=6, help="of quantized training")
    parser.add_argument("--images", type=int, default=400, help="for verification; 4 x to train")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT, help="CSV file")
    args = parser.parse_args()
    rows = {row["model"]: row for row in read(args.output)}
    for name in args.models:
        rows[name] = measured(name, args.epochs, args.images)
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[name].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[known] for known in MODELS if known in rows)
        write_text(args.output, text.getvalue())
        print(rows[name], flush=True)


if __name__ == "__main__":
    main()
