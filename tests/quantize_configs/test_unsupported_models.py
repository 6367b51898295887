"""Models and policies that cannot be quantized, and what the refusal says."""

import re

import pytest
import small_nets

from quantize_configs import BitPolicy, UnsupportedLayerError, quantize
from quantize_configs.keras_backend import keras

layers = keras.layers
SHAPE = (8, 8, 2)


def chain(*parts):
    return keras.Sequential([keras.Input(SHAPE), *parts])


def branching(connect):
    images = keras.Input(SHAPE)
    return keras.Model(images, connect(images, layers.Conv2D(2, 3, name="conv")(images)))


def shared():
    images = keras.Input(SHAPE)
    layer = layers.Conv2D(2, 3, padding="same", name="twice")
    return keras.Model(images, layer(layer(images)))


def nested():
    inner = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3)], name="inner")
    return chain(inner, layers.Flatten(), layers.Dense(2))


def conv(**options):
    return layers.Conv2D(2, 3, name="conv", **options)


def normalization_of_a_tensor_with_two_readers():
    return branching(lambda images, x: layers.Add()([x, layers.BatchNormalization(name="bn")(x)]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: chain(conv(), layers.LayerNormalization(name="norm")),
            "'norm' is a LayerNormalization, which cannot be quantized. Supported layers: .*Conv2D",
        ),
        (lambda: chain(conv(), layers.Lambda(lambda x: x, name="magic")), "'magic' is a Lambda"),
        (lambda: branching(lambda images, x: x * 2.0), "is a TFOpLambda"),
        (lambda: chain(layers.SeparableConv2D(2, 3, name="separable")), "'separable'"),
        (nested, "'inner' is a model inside the model"),
        (shared, "'twice' is called more than once"),
        (
            lambda: chain(conv(activation="softmax"), layers.Flatten(), layers.Dense(2)),
            "softmax 'conv.function' must be an output .*Received: .* 1 readers",
        ),
        (
            lambda: chain(conv(), layers.Softmax(axis=1, name="across")),
            "softmax 'across' must be an output .*Received: axis 1",
        ),
        (
            lambda: chain(conv(), layers.Rescaling(2.0, name="late")),
            "'late' must be the only layer that reads an input .* reads 'conv'",
        ),
        (
            lambda: chain(layers.Rescaling([1.0, 2.0], name="first"), conv()),
            "'first' must have one scale and one offset",
        ),
        (
            lambda: branching(
                lambda images, x: layers.ReLU(name="act")(layers.Concatenate()([x, x]))
            ),
            "'act' .* must directly follow",
        ),
        (lambda: chain(conv(), layers.Activation("tanh", name="act")), "'act' .* 'tanh'; allowed"),
        (lambda: chain(conv(), layers.ReLU(4.0, name="act")), "'act' must be a plain ReLU"),
        (lambda: chain(conv(), layers.ReLU(negative_slope=0.1, name="act")), "negative_slope=0.1"),
        (
            lambda: chain(layers.BatchNormalization(name="bn"), conv()),
            "'bn' .* must directly follow a Conv2D",
        ),
        (
            lambda: chain(conv(), layers.ReLU(), layers.BatchNormalization(name="bn")),
            "'bn' .* must directly follow a Conv2D.*ReLU",
        ),
        (
            lambda: chain(conv(activation="relu"), layers.BatchNormalization(name="bn")),
            "'bn' .* without activation",
        ),
        (normalization_of_a_tensor_with_two_readers, "'bn' .* read by 2 layers"),
        (
            lambda: chain(conv(), layers.BatchNormalization(axis=1, name="bn")),
            r"'bn' normalizes axis \[1\].* Use axis=-1",
        ),
        (lambda: chain(conv(), layers.MaxPooling2D(), layers.ReLU(name="act")), "'act' .* must"),
        (lambda: chain(layers.Flatten()), "no Conv2D, DepthwiseConv2D or Dense layer"),
    ],
)
def test_unsupported_layers(build, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        quantize(build(), BitPolicy())


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="mine")
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (Subclassed, TypeError, "'mine' is a subclassed Model"),
        (
            lambda: keras.Sequential([layers.Dense(2)], name="open"),
            ValueError,
            "'open' has no input shape yet",
        ),
        (lambda: layers.Dense(2, name="alone"), TypeError, "must be a Model.*'alone'"),
        (lambda: "model.h5", TypeError, "must come from tf_keras. Received: builtins.str"),
    ],
)
def test_things_that_are_no_functional_models(build, error, message):
    with pytest.raises(error, match=message):
        quantize(build(), BitPolicy())


def test_policy_naming_an_unknown_layer():
    policy = BitPolicy(layers={"conv": (4, 4), "relu": (4, 4), "convv": (4, 4)})
    message = re.escape("names ['convv', 'relu']") + ".*Layers that take bits: .*'logits'"
    with pytest.raises(ValueError, match=message):
        quantize(small_nets.sequential(), policy)


@pytest.mark.parametrize("bits", [1, 9, 0, 32, "4", 4.0, None, True])
def test_bits_outside_2_to_8(bits):
    with pytest.raises(ValueError, match="Bits of default must be a pair"):
        BitPolicy((4, bits))
    with pytest.raises(ValueError, match="Bits of layer 'conv' must be a pair"):
        BitPolicy(layers={"conv": (bits, 4)})


@pytest.mark.parametrize("pair", [4, (4,), (4, 4, 4), "44", ()])
def test_pairs_that_are_none(pair):
    with pytest.raises(ValueError, match=r"must be a pair .*from 2 to 8\. Received"):
        BitPolicy(pair)


def test_policy_is_a_value():
    layers_of_bits = {"conv": [2, 3]}
    policy = BitPolicy((4, 4), layers_of_bits)
    layers_of_bits["conv"][0] = 8
    assert (policy.of("conv"), policy.of("other")) == ((2, 3), (4, 4))
    assert policy == BitPolicy([4, 4], {"conv": (2, 3)})
