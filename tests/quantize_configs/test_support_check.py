"""`check_support` lists what `quantize` refuses, all of it and before any work."""

import pytest
import tensorflow as tf

from quantize_configs import BitPolicy, UnsupportedLayerError, check_support, quantize
from quantize_configs.keras_backend import keras

layers = keras.layers


def model_of(*parts, shape=(8, 8, 3)):
    return keras.Sequential([keras.Input(shape, name="images"), *parts], name="chain")


def test_everything_that_is_refused_is_listed():
    model = model_of(
        layers.Conv2D(4, 3, name="conv"),
        layers.UnitNormalization(name="unit"),
        layers.Conv2DTranspose(4, 3, name="up"),
        layers.ReLU(threshold=0.5, name="act"),
        shape=(None, 8, 3),
    )
    report = check_support(model)
    assert not report.supported
    assert {item.layer for item in report.refused} == {"unit", "up", "act", "images"}
    reasons = {item.layer: item.reason for item in report.refused}
    assert "UpSampling2D and a Conv2D" in reasons["up"]
    assert "only the batch may be open" in reasons["images"]
    assert all(item.reason in str(report) for item in report.refused)
    with pytest.raises(UnsupportedLayerError) as caught:
        quantize(model, BitPolicy())
    assert str(caught.value) in reasons.values()


def test_open_sizes_are_refused_by_quantize():
    with pytest.raises(UnsupportedLayerError, match=r"'images' has the shape \(None, None, 8, 3\)"):
        quantize(model_of(layers.Conv2D(4, 3), shape=(None, 8, 3)), BitPolicy())


def test_shared_weights_and_several_results_are_listed():
    images = keras.Input((8, 8, 4))
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    left, right = tf.split(shared(shared(images)), 2, axis=-1)
    report = check_support(keras.Model(images, layers.Add()([left, right])))
    assert [item.layer for item in report.refused[:1]] == ["shared"]
    assert any("makes several tensors" in item.reason for item in report.refused)


def test_what_is_computed_in_float():
    model = model_of(
        layers.Conv2D(4, 3, activation="gelu", name="conv"),
        layers.LayerNormalization(name="norm"),
        layers.Dense(2, name="dense"),
    )
    report = check_support(model)
    assert report.supported
    assert dict(report.in_float) == {"conv.function": "gelu", "norm": "layer_normalization"}
    assert "in float  gelu: conv.function" in str(report)
