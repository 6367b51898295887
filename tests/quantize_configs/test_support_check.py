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
        layers.Conv2DTranspose(4, 3, dilation_rate=2, name="up"),
        layers.ReLU(threshold=0.5, name="act"),
        shape=(None, 8, 3),
    )
    report = check_support(model)
    assert not report.supported
    assert {item.layer for item in report.refused} == {"unit", "up", "act", "images"}
    reasons = {item.layer: item.reason for item in report.refused}
    assert "dilation_rate=(2, 2); exported is 1" in reasons["up"]
    assert len(report.refused) == len(reasons)
    assert "only the batch may be open" in reasons["images"]
    assert all(item.reason in str(report) for item in report.refused)
    with pytest.raises(UnsupportedLayerError) as caught:
        quantize(model, BitPolicy())
    assert str(caught.value) in reasons.values()


def test_open_sizes_are_refused_by_quantize():
    with pytest.raises(UnsupportedLayerError, match=r"'images' has the shape \(None, None, 8, 3\)"):
        quantize(model_of(layers.Conv2D(4, 3), shape=(None, 8, 3)), BitPolicy())


def test_several_results_are_listed():
    images = keras.Input((8, 8, 4))
    left, right = tf.split(layers.Conv2D(4, 3)(images), 2, axis=-1)
    report = check_support(keras.Model(images, layers.Add()([left, right])))
    assert any("makes several tensors" in item.reason for item in report.refused)


def test_partitions_are_said():
    """Two enlargements side by side leave XNNPACK together, one behind the other does so again."""
    images = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same")(images)
    x = layers.Add()([layers.UpSampling2D(2, name="left")(x), layers.UpSampling2D(2)(x)])
    x = layers.UpSampling2D(2)(layers.Conv2D(4, 3)(x))
    report = check_support(keras.Model(images, layers.Conv2D(4, 3)(x)))
    assert report.partitions == 3
    assert len(report.outside_xnnpack) == 3
    assert "built-in  left, " in str(report)
    assert "XNNPACK   3 partitions" in str(report)
    assert "XNNPACK   1 partition" in str(check_support(model_of(layers.Conv2D(4, 3))))


def test_copies_of_shared_weights_are_said():
    images = keras.Input((8, 8, 4))
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    report = check_support(keras.Model(images, shared(layers.ReLU()(shared(images)))))
    assert report.supported
    assert report.unshared == ("shared.call_2",)
    assert "unshared  shared.call_2: a copy of the weights for each call" in str(report)


@pytest.mark.parametrize(
    "part",
    [
        lambda x: x[:, ::-1],
        lambda x: x[:, :, :, ::2],
        lambda x: x[:4],
        lambda x: layers.Reshape((-1, 4))(x)[:, ::2],
    ],
    ids=["backwards", "of channels", "of the batch", "of a sequence"],
)
def test_other_parts_are_refused_by_a_sentence(part):
    images = keras.Input((8, 8, 4))
    model = keras.Model(images, part(layers.Conv2D(4, 3, padding="same")(images)))
    (refusal,) = check_support(model).refused
    assert "takes a part of a tensor that is not exported" in refusal.reason
    with pytest.raises(UnsupportedLayerError) as caught:
        quantize(model, BitPolicy())
    assert str(caught.value) == refusal.reason


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


@pytest.mark.parametrize("taken", ["conv.input", "images.quantized", "images.narrowed"])
def test_names_of_added_layers_are_refused(taken):
    """Faults 16."""
    image = keras.Input((8, 8, 3), name="images")
    x = layers.ReLU(name=taken)(layers.Conv2D(4, 3, name="conv")(image))
    model = keras.Model(image, x)
    (refusal,) = check_support(model).refused
    assert refusal.layer == taken
    assert f"Layer {taken!r} (ReLU) has the name that the quantizer beside" in refusal.reason
    with pytest.raises(UnsupportedLayerError) as caught:
        quantize(model, BitPolicy())
    assert str(caught.value) == refusal.reason
