"""Classifiers trained here, quantized without training: digits and Fashion-MNIST.

    apt-get install dataset-fashion-mnist
    python benchmarks/small_classifiers.py [--epochs=6]

A convolutional classifier per data set, trained in float (batch normalization, depthwise layers),
then quantized with 8 bits and with 4-bit weights and 8-bit activations: with the biases as they
are, with biases corrected (what `calibrate` does by default), with learned rounding, and with 8 and
32 images to calibrate instead of 256. A row per way in benchmarks/results/small_classifiers.csv:
accuracy on the test images in LiteRT and of the float model in %, integers that differ from the
reference on one image.
"""

import argparse
import os
import pathlib
from collections.abc import Iterator

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file
from pretrained import run

import tflite_tools
from qfa_tf.data.idx_files import read_idx
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.keras_backend import keras

NAME = "small_classifiers"
FASHION_MNIST = pathlib.Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10
MOST_TEST_IMAGES = 4000
layers = keras.layers
Images = tuple[np.ndarray, np.ndarray]


def digits() -> tuple[Images, Images]:
    """(training, test) of scikit-learn's digits, 8 x 8."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], data.target[order]
    return (images[:1300], labels[:1300]), (images[1300:], labels[1300:])


def fashion_mnist() -> tuple[Images, Images]:
    """(training, test) of Fashion-MNIST, 28 x 28."""
    parts = []
    for kind in ("train", "t10k"):
        images = read_idx(FASHION_MNIST / f"{kind}-images-idx3-ubyte.gz")
        labels = read_idx(FASHION_MNIST / f"{kind}-labels-idx1-ubyte.gz")
        parts.append(((images[..., None] / 255.0).astype(np.float32), labels.astype(int)))
    (test, test_labels) = parts[1]
    return (parts[0][0][:20000], parts[0][1][:20000]), (
        test[:MOST_TEST_IMAGES],
        test_labels[:MOST_TEST_IMAGES],
    )


DATA = {"digits": digits, "Fashion-MNIST": fashion_mnist}
BITS = {"8/8": (8, 8), "4/8": (4, 8)}
WAYS = {
    "biases as they are": (256, {"correct_bias": False}),
    "default": (256, {}),
    "rounding learned": (256, {"learn_rounding": True, "verbose": False}),
    "biases as they are, 32 images": (32, {"correct_bias": False}),
    "default, 32 images": (32, {}),
    "biases as they are, 8 images": (8, {"correct_bias": False}),
    "default, 8 images": (8, {}),
}
"""Images to calibrate with, and options of `calibrate`."""


def classifier(shape: tuple[int, ...]) -> keras.Model:
    """Convolutions, two depthwise blocks with a residual sum, a dense layer."""
    image = keras.Input(shape, name="image")

    def convolved(x, layer):
        return layers.ReLU()(layers.BatchNormalization()(layer(x)))

    same = {"padding": "same", "use_bias": False}
    x = convolved(image, layers.Conv2D(16, 3, **same))
    for width, strides in ((32, 2 if shape[0] > 8 else 1), (64, 2)):
        x = convolved(x, layers.DepthwiseConv2D(3, strides, **same))
        x = source = convolved(x, layers.Conv2D(width, 1, use_bias=False))
        x = convolved(x, layers.Conv2D(width, 3, **same))
        x = layers.Add()([x, source])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(CLASSES)(x), name="classifier")


def rows(name: str, epochs: int) -> Iterator[dict[str, object]]:
    """All ways on one data set, as soon as they are measured."""
    keras.utils.set_random_seed(0)
    (train, train_labels), (test, test_labels) = DATA[name]()
    model = classifier(train.shape[1:])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.legacy.Adam(3e-3), loss)
    epochs = epochs * max(1, 10000 // len(train))
    rate = keras.callbacks.LearningRateScheduler(
        lambda epoch: 3e-3 * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
    )
    model.fit(train, train_labels, 64, epochs, verbose=0, callbacks=[rate])
    expected = model.predict(test, verbose=0).argmax(1)
    for bits, pair in BITS.items():
        for way, (count, options) in WAYS.items():
            quantized = quantize(model, BitPolicy(pair))
            calibrate(quantized, train[:count], **options)
            prepare_for_deployment(quantized)
            flatbuffer = tflite_tools.convert(quantized)
            answers = run(flatbuffer, test).argmax(1)
            report = tflite_tools.verify(flatbuffer, quantized, test[:1])
            row = {
                "name": f"{name}, {bits}, {way}",
                "test_images": len(test),
                "float_accuracy": f"{100 * np.mean(expected == test_labels):.2f}",
                "accuracy": f"{100 * np.mean(answers == test_labels):.2f}",
                "equal_answers": f"{100 * np.mean(answers == expected):.2f}",
                "mismatches": f"{report.mismatches} of {report.elements}",
            }
            print(row, flush=True)
            yield row


def main() -> None:
    """Measures the data sets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=DATA)
    parser.add_argument("--epochs", type=int, default=6, help="at least, more where images are few")
    args = parser.parse_args()
    for name in args.data:
        for row in rows(name, args.epochs):
            results_file.replace(NAME, "name", row)


if __name__ == "__main__":
    main()
