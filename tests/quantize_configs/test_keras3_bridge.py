"""Keras 3 models are taken as they are: same outputs, same names, and weights that go back."""

import keras as keras3
import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import (
    BitPolicy,
    InvalidInputError,
    InvalidTypeError,
    UnsupportedError,
    UnsupportedLayerError,
    as_tf_keras,
    check_support,
    quantize,
    sensitivity,
    to_keras3,
)
from quantize_configs.keras3_counterparts import OPERATORS, operator
from quantize_configs.keras_backend import keras

layers = keras3.layers
SIZE = 8


def _image():
    return keras3.Input((SIZE, SIZE, 3), name="image")


def _sequential():
    return keras3.Sequential(
        [
            keras3.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 255.0),
            layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(2, name="classifier"),
        ]
    )


def _activations():
    image = _image()
    x = image
    for name in ("hard_sigmoid", "hard_silu", "relu6", "silu", "gelu", "leaky_relu", "elu"):
        x = layers.Conv2D(4, 1, activation=name, name=name)(x)
    x = layers.Activation("hard_sigmoid", name="alone")(x)
    x = layers.LeakyReLU(negative_slope=0.1)(x)
    return keras3.Model(image, layers.PReLU(shared_axes=[1, 2], alpha_initializer="uniform")(x))


def _operators():
    image = _image()
    ops = keras3.ops
    x = layers.Conv2D(4, 3, padding="same")(image)
    x = ops.relu6(x + 3.0) * (1.0 / 6.0) * x - 0.5
    x = ops.concatenate([x, ops.maximum(x, 0.25), x[..., :2] / 2.0], axis=-1)
    x = ops.hard_silu(x) + ops.hard_sigmoid(x) + ops.gelu(x, approximate=False)
    x = ops.leaky_relu(x, negative_slope=0.3) * ops.mean(x, axis=[1, 2], keepdims=True)
    x = ops.reshape(ops.softmax(ops.mean(x, axis=(1, 2)), axis=-1), (-1, 5, 2))
    return keras3.Model(image, ops.squeeze(ops.max(x, axis=1, keepdims=True), axis=1))


def _nested():
    inner_image = keras3.Input((SIZE, SIZE, 4))
    inner = keras3.Model(
        inner_image, layers.SeparableConv2D(4, 3, padding="same", name="separable")(inner_image)
    )
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    image = _image()
    x = shared(layers.Conv2D(4, 1, name="first")(image))
    x = layers.Add()([shared(x), inner(x)])
    outer = keras3.Sequential([keras3.Input((SIZE, SIZE, 4)), layers.Flatten(), layers.Dense(3)])
    return keras3.Model(image, [outer(x), layers.GlobalMaxPooling2D(name="largest")(x)])


def _two_inputs():
    image, other = _image(), keras3.Input((3,), name="other")
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(image), other])
    return keras3.Model({"image": image, "other": other}, layers.Dense(2)(x))


def _normalization():
    image = _image()
    layer = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    x = layers.LayerNormalization(epsilon=1e-3)(layers.Conv2D(4, 3)(layer(image)))
    return keras3.Model(image, layers.ZeroPadding2D(1)(x))


MODELS = {
    build.__name__.lstrip("_"): build
    for build in (_sequential, _activations, _operators, _nested, _two_inputs, _normalization)
}


def _randomized(model):
    """Weights and statistics that no start has."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.2, 0.8, weight.shape))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_the_original(name):
    original = _randomized(MODELS[name]())
    model = as_tf_keras(original)  # compares the outputs
    assert isinstance(model, keras.Model)
    names = {layer.name for layer in model.layers}
    assert {layer.name for layer in original.layers if layer.weights} <= names
    back = to_keras3(model, original)
    for weight, expected in zip(back.weights, original.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_a_file_of_keras3_and_its_quantized_model(tmp_path):
    original = _randomized(_sequential())
    original.save(tmp_path / "model.keras")
    loaded = keras3.saving.load_model(tmp_path / "model.keras")
    loaded.get_layer("conv").trainable = False
    images = np.random.default_rng(0).uniform(0, 255, (4, SIZE, SIZE, 3)).astype(np.float32)
    assert check_support(loaded).supported
    assert set(sensitivity(loaded, images, bits=(4,)).increases) == {"conv", "classifier"}
    quantized = quantize(loaded, BitPolicy((8, 8)))
    assert not any("conv/kernel" in weight.name for weight in quantized.trainable_weights)
    np.testing.assert_array_equal(
        quantized.get_layer("quant_conv").layer.get_weights()[0], original.layers[1].kernel.numpy()
    )


def test_trained_weights_go_back():
    original = _randomized(_sequential())
    model = as_tf_keras(original)
    model.get_layer("classifier").bias.assign([3.0, -4.0])
    back = to_keras3(model, original)
    np.testing.assert_array_equal(back.get_layer("classifier").bias.numpy(), [3.0, -4.0])
    assert original.get_layer("classifier").bias.numpy().max() < 1.0  # as it was
    with pytest.raises(InvalidInputError, match="was not made from"):
        to_keras3(model, _activations())
    with pytest.raises(InvalidTypeError, match="needs the Keras 3 model"):
        to_keras3(model, model)


def test_tf_keras_models_stay_as_they_are():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert as_tf_keras(model) is model


class _Subclassed(keras3.Model):
    def call(self, inputs):
        return inputs


class _OwnLayer(layers.Layer):
    def call(self, inputs):
        return inputs


def _of_cumsum():
    image = _image()
    return keras3.Model(image, keras3.ops.cumsum(image, axis=1))


REFUSED = {
    "subclassed": (lambda: _Subclassed(name="own"), InvalidTypeError, "'own' is a subclassed"),
    "unbuilt": (
        lambda: keras3.Sequential([layers.Dense(1)], name="open"),
        InvalidInputError,
        "'open' has no input shape",
    ),
    "own layer": (
        lambda: keras3.Sequential([keras3.Input((2,)), _OwnLayer(name="mine")]),
        UnsupportedLayerError,
        "'mine' is a _OwnLayer",
    ),
    "operator": (_of_cumsum, UnsupportedLayerError, "the Keras 3 operator Cumsum"),
    "option": (
        lambda: keras3.Sequential([keras3.Input((2,)), layers.Dense(1, activation="sparsemax")]),
        UnsupportedLayerError,
        "has options that tf_keras does not take.*sparsemax",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_what_is_refused(name):
    build, kind, words = REFUSED[name]
    with pytest.raises(kind, match=words):
        quantize(build(), BitPolicy())


def test_another_meaning_is_found_by_its_outputs(monkeypatch):
    image = _image()
    model = keras3.Model(image, keras3.ops.relu(image), name="clipped")
    monkeypatch.setitem(OPERATORS, "Relu", lambda op: tf.nn.relu6)
    with pytest.raises(UnsupportedError, match=r"'clipped' was rebuilt.*differs by"):
        as_tf_keras(model)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_operators_of_the_table_exist(name):
    kinds = [
        getattr(module, name, None)
        for module in (keras3.src.ops.numpy, keras3.src.ops.nn, keras3.src.ops.core)
    ]
    assert any(kinds)
    assert callable(operator)
