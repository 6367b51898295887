"""Functions written with operators or as activations become layers; the model stays the same."""

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import BitPolicy, HardSigmoid, HardSwish, quantize
from quantize_configs.keras_backend import keras
from quantize_configs.rewriting import as_quantizable

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(0, 2, (4, 6, 6, 3)).astype(np.float32)


def hard_sigmoid(x):
    """As tf_keras.applications writes it."""
    return layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)


def model_of(connect):
    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 3), name="images")
    return keras.Model(images, connect(layers.Conv2D(4, 3, name="conv")(images)))


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def mobilenet_v3_parts(x):
    x = layers.Multiply(name="swish")([x, hard_sigmoid(x)])
    gate = layers.Conv2D(4, 1, name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Multiply()([x, hard_sigmoid(gate)])


def test_operators_become_layers_and_compute_the_same():
    model = model_of(mobilenet_v3_parts)
    rewritten = as_quantizable(model)
    assert kinds(rewritten) == [
        *("InputLayer", "Conv2D", "HardSwish", "GlobalAveragePooling2D", "Conv2D"),
        *("HardSigmoid", "Multiply"),
    ]
    np.testing.assert_array_equal(rewritten(IMAGES), model(IMAGES))
    assert {"conv", "gate", "swish"} <= {layer.name for layer in rewritten.layers}


@pytest.mark.parametrize("function", ["swish", "sigmoid", "softmax"])
def test_activations_that_no_operator_fuses_are_split_off(function):
    dense = layers.Dense(5, activation=function, name="dense")
    model = model_of(lambda x: dense(layers.Flatten()(x)))
    rewritten = as_quantizable(model)
    assert [layer.name for layer in rewritten.layers[-2:]] == ["dense", "dense.function"]
    np.testing.assert_allclose(rewritten(IMAGES), model(IMAGES), rtol=1e-6)
    names = [layer.name for layer in quantize(model, BitPolicy((4, 4))).layers]
    assert names[-2:] == ["quant_dense", "quant_dense.function"]


@pytest.mark.parametrize(
    "connect",
    [
        lambda x: layers.ReLU(6.0)(x + 2.0) * (1.0 / 6.0),
        lambda x: layers.ReLU(6.0)(x + 3.0) * 0.2,
        lambda x: layers.ReLU(5.0)(x + 3.0) * (1.0 / 6.0),
        lambda x: layers.ReLU(6.0)(x * 3.0) * (1.0 / 6.0),
        lambda x: x + 3.0,
        lambda x: [x, hard_sigmoid(x), layers.ReLU(6.0)(x + x)],
        lambda x: [layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0), x + 3.0],
    ],
)
def test_other_operators_become_other_layers(connect):
    model = model_of(connect)
    rewritten = as_quantizable(model)
    assert "TFOpLambda" not in kinds(rewritten)
    for ours, theirs in zip(
        tf.nest.flatten(rewritten(IMAGES)), tf.nest.flatten(model(IMAGES)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_hard_sigmoid_with_two_readers_is_kept_beside_the_product():
    def connect(x):
        gate = HardSigmoid(name="gate")(x)
        return [layers.Multiply()([x, gate]), gate]

    assert HardSwish not in map(type, as_quantizable(model_of(connect)).layers)


def test_models_without_such_functions_are_returned_as_they_are():
    model = model_of(layers.ReLU())
    assert as_quantizable(model) is model
