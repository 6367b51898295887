"""The same weights without quantizers."""

import numpy as np
import pytest

import tflite_tools
from quantize_configs import (
    BitPolicy,
    HardSwish,
    calibrate,
    float_counterpart,
    prepare_for_deployment,
    quantize,
)
from quantize_configs.keras_backend import keras

layers = keras.layers
IMAGES = np.random.default_rng(0).random((8, 8, 8, 3), np.float32)


def model_of_many_layers():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="first")(image)
    x = skip = HardSwish(name="swish")(layers.BatchNormalization(name="norm")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Add(name="sum")([layers.PReLU(shared_axes=[1, 2], name="prelu")(x), skip])
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    outputs = [layers.Dense(4, name="logits")(x), layers.Dense(2, "sigmoid", name="second")(x)]
    model = keras.Model(image, outputs)
    model(np.concatenate([IMAGES, 3 * IMAGES]), training=True)
    return model


@pytest.mark.parametrize("prepared", [False, True])
def test_it_is_the_model_before_quantize(prepared):
    model = model_of_many_layers()
    quantized = quantize(model, BitPolicy((4, 8), {"logits": (32, 32)}))
    calibrate(quantized, IMAGES, correct_bias=False)
    if prepared:
        prepare_for_deployment(quantized)
    before = quantized.get_weights() if prepared else None
    found = float_counterpart(quantized)
    for ours, expected in zip(found(IMAGES), model(IMAGES), strict=True):
        # a device keeps biases as integers
        np.testing.assert_allclose(ours, expected, atol=1e-3 if prepared else 1e-6)
    if prepared:
        report = tflite_tools.compare_float(tflite_tools.convert(quantized), found, IMAGES)
        names = {layer.name for layer in report.layers}
        assert {"swish", "depthwise", "sum", "mean", "logits"} <= names
        for value, same in zip(quantized.get_weights(), before, strict=True):
            np.testing.assert_array_equal(value, same)
