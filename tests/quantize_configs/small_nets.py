"""Small float models with every supported layer, and a task for them."""

import numpy as np

from quantize_configs import BitPolicy
from quantize_configs.keras_backend import keras

layers = keras.layers

POLICY = BitPolicy(
    default=(8, 8),
    layers={
        "conv": (2, 3),
        "depthwise": (4, 2),
        "pointwise": (3, 4),
        "shortcut": (5, 6),
        "logits": (8, 7),
    },
)
LINEAR = ("conv", "depthwise", "pointwise", "shortcut", "hidden", "logits")


def functional():
    images = keras.Input((8, 8, 2), name="images")
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv")(images)
    x = layers.BatchNormalization(momentum=0.8, name="conv_bn")(x)
    x = layers.MaxPooling2D(name="max_pool")(layers.ReLU(name="conv_relu")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.ReLU(6.0, name="depthwise_relu")(y)
    y = layers.Conv2D(6, 1, name="pointwise")(y)
    z = layers.Conv2D(6, 1, name="shortcut")(x)
    x = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([y, z]))
    a = layers.AveragePooling2D(name="average_pool")(x)
    a = layers.Dropout(0.1, name="dropout")(layers.Flatten(name="flatten")(a))
    a = layers.Dense(6, activation="relu", name="hidden")(a)
    b = layers.GlobalAveragePooling2D(name="global_pool")(x)
    x = layers.Dense(3, name="logits")(layers.Add(name="last_sum")([a, b]))
    return keras.Model(images, x, name="functional")


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="conv_bn"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flatten"),
            layers.Dense(3, name="logits"),
        ],
        name="sequential",
    )


def task(count=192):
    """Images whose label is the third of the rows that is brightest."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, count)
    images = generator.normal(0, 0.5, (count, 8, 8, 2)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 2] += 1.0
    return images, labels


def compile_and_fit(model, epochs, **options):
    images, labels = task()
    model.compile(
        keras.optimizers.legacy.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **options,
    )
    return model.fit(images, labels, 32, epochs, verbose=0).history["loss"]
