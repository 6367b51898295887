"""Outputs that are tiny beside what is summed up get the narrowest range a kernel rounds to."""

import warnings

import numpy as np
import pytest

import tflite_tools
from quantize_configs import (
    BitPolicy,
    CollapsedRangeWarning,
    calibrate,
    prepare_for_deployment,
    quantize,
)
from quantize_configs.keras_backend import keras
from quantize_configs.wrappers import WrappedModel

layers = keras.layers


LAYERS = {
    "conv": lambda: layers.Conv2D(4, 1, name="sums"),
    "conv 3x3": lambda: layers.Conv2D(4, 3, name="sums"),
    "conv of many": lambda: layers.Conv2D(4, 6, name="sums"),
    "dense": lambda: layers.Dense(4, name="sums"),
}


@pytest.mark.parametrize("bits", [(8, 8), (4, 8)])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("left", [1e-4, 1e-25])
def test_a_collapsed_range_is_widened_and_said(name, bits, left):
    """Faults 14: XNNPACK prepares no operator whose multiplier reaches 256."""
    keras.utils.set_random_seed(0)
    layer = LAYERS[name]()
    model = keras.Sequential(
        [
            keras.Input((6, 6, 8), name="image"),
            layer,
            layers.ReLU(name="relu"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(3, name="head"),
        ]
    )
    rng = np.random.default_rng(0)
    kernel = rng.choice([-99, 99], layer.kernel.shape)
    kernel[..., 1::2, :] = -kernel[..., ::2, :]
    layer.kernel.assign(kernel)  # products of these and of bytes are exact, and cancel
    layer.bias.assign(left * np.arange(1, 5))
    images = np.repeat(rng.integers(0, 256, (8, 6, 6, 4)) / np.float32(256), 2, axis=-1)
    quantized = quantize(model, BitPolicy(bits))
    calibrate(quantized, images, correct_bias=False)
    with pytest.warns(CollapsedRangeWarning, match=r"of 1 layers had collapsed .*: sums\. Was the"):
        prepare_for_deployment(quantized)
    report = tflite_tools.verify(tflite_tools.convert(quantized), quantized, images)
    assert report.mismatches == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare_for_deployment(quantized)  # wide enough


def test_ranges_of_data_stay_as_they_are():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.Dense(3, name="last")])
    quantized = quantize(model, BitPolicy())
    calibrate(quantized, np.random.default_rng(0).random((16, 5), np.float32))
    before = WrappedModel(quantized).activation_grid("last.input")
    prepare_for_deployment(quantized)
    assert WrappedModel(quantized).activation_grid("last.input") == before
