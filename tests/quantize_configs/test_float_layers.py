"""Layers that a quantized model keeps in float."""

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import BitPolicy, calibrate, quantize
from quantize_configs.keras_backend import keras
from quantize_configs.wrappers import WrappedModel


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((6, 6, 2), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="first")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(3, 1, name="second")(x))


def test_float_layers_compute_in_float(model):
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype(np.float32)
    policy = BitPolicy(default=(2, 2))
    results = {}
    for names in ((), ("first",), ("first", "second")):
        quantized = quantize(model, policy, tensor_quantizers=False, float_layers=names)
        inputs = WrappedModel(quantized).quantized_outputs()
        assert inputs == [
            name for name in ("first.input", "second.input") if name[:-6] not in names
        ]
        if inputs:
            calibrate(quantized, [images])
        results[names] = quantized(images, training=False).numpy()
    expected = model(images).numpy()
    np.testing.assert_allclose(results["first", "second"], expected, rtol=1e-5, atol=1e-6)
    errors = [np.mean(np.abs(results[names] - expected)) for names in ((), ("first",))]
    assert errors[0] > errors[1] > 0.01


def test_float_layers_are_trained(model):
    names = ("first",)
    quantized = quantize(model, BitPolicy(), tensor_quantizers=False, float_layers=names)
    kernel = WrappedModel(quantized).wrapper("first").layer.kernel
    images = tf.random.stateless_normal([4, 6, 6, 2], [1, 2])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantized(images, training=True) ** 2)
    assert np.any(tape.gradient(loss, kernel))
    assert any(weight is kernel for weight in quantized.trainable_weights)


def test_errors(model):
    options = {"float_layers": ("first",)}
    with pytest.raises(ValueError, match=r"tensor_quantizers=False.*Received: \['first'\]"):
        quantize(model, BitPolicy(), **options)
    options["tensor_quantizers"] = False
    with pytest.raises(ValueError, match=r"both name \['first'\]"):
        quantize(model, BitPolicy(layers={"first": (4, 4)}), **options)
    options["float_layers"] = ("third", "first")
    with pytest.raises(ValueError, match=r"names \['third'\].*\['first', 'second'\]"):
        quantize(model, BitPolicy(), **options)
