"""What holds for every Keras layer of the registry: it is exact on the device."""

import numpy as np
import pytest

import tflite_tools
from quantize_configs import (
    BitPolicy,
    HardSigmoid,
    HardSwish,
    calibrate,
    prepare_for_deployment,
    quantize,
)
from quantize_configs.keras_backend import keras
from quantize_configs.layers.registry import LAYERS
from quantize_configs.model_graph import ModelGraph
from quantize_configs.rewriting import as_quantizable

layers = keras.layers
SHAPE = (9, 8, 6)
IMAGES = np.random.default_rng(0).normal(size=(6, *SHAPE)).astype(np.float32)


def conv(x, width=6, size=3, **options):
    return layers.Conv2D(width, size, padding="same", **options)(x)


def pooled(x):
    return layers.GlobalAveragePooling2D(keepdims=True)(x)


CASES = {
    "Conv2D": lambda x: conv(x, strides=2, activation="relu"),
    "Conv2D valid": lambda x: layers.Conv2D(5, (3, 2), activation="relu6")(x),
    "DepthwiseConv2D": lambda x: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2)(x),
    "Dense": lambda x: layers.Dense(7, activation="sigmoid")(layers.Flatten()(x)),
    "Dense of a map": lambda x: layers.Dense(7, activation="swish")(x),
    "BatchNormalization": lambda x: layers.ReLU()(layers.BatchNormalization()(conv(x))),
    "ReLU": lambda x: layers.ReLU(6.0)(layers.Add()([x, conv(x)])),
    "Activation": lambda x: layers.Activation("swish")(conv(x)),
    "HardSigmoid": lambda x: layers.Multiply()([x, HardSigmoid()(conv(pooled(x), size=1))]),
    "HardSwish": lambda x: HardSwish()(conv(x)),
    "Softmax": lambda x: layers.Softmax()(layers.Dense(5)(layers.Flatten()(x))),
    "Add": lambda x: layers.Add()([x, conv(x)]),
    "Multiply": lambda x: layers.Multiply()([x, conv(x)]),
    "Concatenate": lambda x: layers.Concatenate()([x, conv(x), layers.MaxPooling2D(1)(x)]),
    "AveragePooling2D": lambda x: layers.AveragePooling2D((3, 2))(x),
    "GlobalAveragePooling2D": lambda x: layers.GlobalAveragePooling2D()(x),
    "GlobalMaxPooling2D": lambda x: layers.GlobalMaxPooling2D(keepdims=True)(x),
    "GlobalMaxPooling2D flat": lambda x: layers.GlobalMaxPooling2D()(x),
    "UpSampling2D": lambda x: layers.UpSampling2D((2, 3))(x),
    "UpSampling2D bilinear": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
    "MaxPooling2D": lambda x: layers.MaxPooling2D(2)(x),
    "ZeroPadding2D": lambda x: layers.ZeroPadding2D(((1, 2), (0, 1)))(x),
    "Flatten": lambda x: layers.Flatten()(x),
    "Reshape": lambda x: layers.Reshape((-1, 6))(x),
    "Dropout": lambda x: layers.Dropout(0.3)(x),
}  # fmt: skip
"""Networks behind a convolution, by what they are examples of."""

PARTITIONS = {"UpSampling2D": 2}
"""Of XNNPACK, where they are not one."""


def network(connect):
    keras.utils.set_random_seed(0)
    images = keras.Input(SHAPE, name="images")
    return keras.Model(images, connect(conv(layers.Rescaling(0.5)(images), name="stem")))


def converted(model, policy):
    quantized = quantize(model, policy)
    calibrate(quantized, [IMAGES])
    prepare_for_deployment(quantized)
    return quantized, tflite_tools.convert(quantized)


@pytest.mark.parametrize("bits", [(8, 8), (4, 5)])
@pytest.mark.parametrize("name", CASES)
def test_exact_in_one_partition(name, bits):
    model, content = converted(network(CASES[name]), BitPolicy(bits))
    report = tflite_tools.verify(content, model, IMAGES, integer_images=3)
    assert report.mismatches == 0, str(report)
    assert report.integers.kernel_sets[0].partitions == PARTITIONS.get(name, 1), str(report)


def test_every_layer_has_an_example():
    used = {
        type(call.layer)
        for connect in CASES.values()
        for call in ModelGraph(as_quantizable(network(connect))).calls
    }
    assert used == set(LAYERS)
