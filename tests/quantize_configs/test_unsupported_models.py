"""Models and policies that cannot be quantized, and what the refusal says."""

import re

import pytest
import small_nets
import tensorflow as tf

from quantize_configs import BitPolicy, UnsupportedLayerError, quantize
from quantize_configs.keras_backend import keras

layers = keras.layers
SHAPE = (8, 8, 2)


def chain(*parts):
    return keras.Sequential([keras.Input(SHAPE), *parts])


BORDERS = [[0, 0], [1, 1], [0, 1], [0, 0]]


def branching(connect):
    images = keras.Input(SHAPE)
    return keras.Model(images, connect(images, layers.Conv2D(2, 3, name="conv")(images)))


def conv(**options):
    return layers.Conv2D(2, 3, name="conv", **options)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: chain(conv(), layers.UnitNormalization(name="norm")),
            "'norm' is a UnitNormalization, which cannot be quantized. Supported layers: .*Conv2D",
        ),
        (lambda: chain(conv(), layers.Lambda(lambda x: x, name="magic")), "'magic' is a Lambda"),
        (lambda: branching(lambda images, x: tf.abs(x)), "is a TFOpLambda"),
        (
            lambda: branching(lambda images, x: tf.pad(x, BORDERS, constant_values=1.5)),
            r"pads \[\[0, 0\], \[1, 1\], .* in mode 'CONSTANT' with 1.5; zeros around",
        ),
        (
            lambda: branching(lambda images, x: tf.pad(x, BORDERS, "REFLECT")),
            "in mode 'REFLECT' with 0; zeros around",
        ),
        (
            lambda: branching(lambda images, x: tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, 3]])),
            r"pads .*\[0, 3\]\] in mode 'CONSTANT' with 0; zeros around",
        ),
        (
            lambda: chain(layers.Conv2DTranspose(2, 3, (2, 1), name="up")),
            r"'up' has strides=\(2, 1\); exported is equal strides",
        ),
        (
            lambda: chain(conv(), layers.Softmax(axis=1, name="across")),
            "softmax 'across' must be over the last axis. Received: axis 1",
        ),
        (
            lambda: chain(conv(), layers.LayerNormalization(axis=1, name="norm")),
            r"'norm' normalizes the axes \[1\].* Use axis=-1",
        ),
        (
            lambda: chain(conv(), layers.Activation("softsign", name="act")),
            "'act' .* 'softsign'; allowed",
        ),
        (
            lambda: chain(conv(), layers.ReLU(threshold=0.5, name="act")),
            "'act' is a ReLU with a threshold of 0.5",
        ),
        (
            lambda: chain(conv(), layers.PReLU(name="act")),
            r"'act' has a slope for every place .* Use shared_axes=\[1, 2\]",
        ),
        (
            lambda: chain(conv(), layers.UpSampling2D(interpolation="bicubic", name="up")),
            "'up' enlarges by 'bicubic' interpolation",
        ),
        (
            lambda: chain(conv(), layers.BatchNormalization(axis=1, name="bn")),
            r"'bn' normalizes axis \[1\].* Use axis=-1",
        ),
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
