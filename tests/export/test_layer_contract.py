"""What holds for every Keras layer of the registry: it is exact on the device."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from quantize_configs import (
    BitPolicy,
    HardSigmoid,
    HardSwish,
    calibrate,
    check_support,
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


def sequence(x):
    return layers.Reshape((-1, x.shape[-1]))(x)


def maxima(x):
    return layers.MaxPooling2D()(x)


def nested(shape):
    inner = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(name="stem")]
    return keras.Sequential([keras.Input(shape), *inner], name="inner")


def kept(shape):
    inner = [layers.Conv2D(6, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()]
    return keras.Sequential([keras.Input(shape), *inner], name="kept")


def twice(layer, x):
    return layer(conv(layer(conv(x))))


def idle():
    """Layers that do nothing at inference."""
    return [
        layers.Identity(),
        layers.SpatialDropout2D(0.1),
        layers.GaussianDropout(0.1),
        layers.GaussianNoise(0.1),
        layers.AlphaDropout(0.1),
        layers.ActivityRegularization(),
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomZoom(0.1),
        layers.RandomContrast(0.1),
        layers.RandomBrightness(0.1),
    ]


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
    "Concatenate of many": lambda x: layers.Concatenate()(
        [layers.ReLU(float(most))(x) for most in range(1, 13)]
    ),
    "AveragePooling2D": lambda x: layers.AveragePooling2D((3, 2))(x),
    "GlobalAveragePooling2D": lambda x: layers.GlobalAveragePooling2D()(x),
    "GlobalMaxPooling2D": lambda x: layers.GlobalMaxPooling2D(keepdims=True)(x),
    "GlobalMaxPooling2D flat": lambda x: layers.GlobalMaxPooling2D()(x),
    "UpSampling2D": lambda x: layers.UpSampling2D((2, 3))(x),
    "UpSampling2D bilinear": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
    "UpSampling2D beside": lambda x: layers.Add()(
        [conv(layers.UpSampling2D(2)(x)), conv(layers.UpSampling2D(2)(conv(x)))]
    ),
    "MaxPooling2D that skips pixels": lambda x: layers.MaxPooling2D(1, 2)(x),
    "MaxPooling2D": lambda x: layers.MaxPooling2D(2)(x),
    "ZeroPadding2D": lambda x: layers.ZeroPadding2D(((1, 2), (0, 1)))(x),
    "Flatten": lambda x: layers.Flatten()(x),
    "Reshape": lambda x: layers.Reshape((-1, 6))(x),
    "Dropout": lambda x: layers.Dropout(0.3)(x),
    # Convolutions and dense layers.
    "SeparableConv2D": lambda x: layers.SeparableConv2D(8, 3, activation="swish")(x),
    "Conv2D groups": lambda x: conv(x, groups=2),
    "Conv2D dilation": lambda x: conv(x, dilation_rate=2),
    "DepthwiseConv2D dilation": lambda x: layers.DepthwiseConv2D(3, dilation_rate=2)(x),
    "Conv2D with a layer as activation": lambda x: conv(x, activation=layers.LeakyReLU(0.1)),
    "Conv2DTranspose": lambda x: layers.ReLU()(
        layers.BatchNormalization()(layers.Conv2DTranspose(4, 3, 2, "same", use_bias=False)(x))
    ),
    "Conv2DTranspose valid": lambda x: layers.Conv2DTranspose(4, (5, 2), 3, activation="relu")(x),
    "Conv2DTranspose without stride": lambda x: layers.Conv2DTranspose(4, 3)(x),
    "Conv2DTranspose with a function": lambda x: layers.Conv2DTranspose(
        4, 4, 2, "same", activation="sigmoid"
    )(x),
    "a convolution called twice": lambda x: twice(layers.Conv2D(6, 3, padding="same"), x),
    "a model inside the model, called twice": lambda x: twice(kept(x.shape[1:]), x),
    # Normalizations, scales and offsets.
    "BatchNormalization alone": lambda x: layers.ReLU()(layers.BatchNormalization()(maxima(x))),
    "BatchNormalization behind relu": lambda x: layers.BatchNormalization()(
        layers.Dense(8, activation="relu")(layers.Flatten()(x))
    ),
    "LayerNormalization": lambda x: layers.LayerNormalization()(x),
    "LayerNormalization of many channels": lambda x: layers.LayerNormalization()(
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=16)(x)
    ),
    "Normalization": lambda x: layers.Normalization(mean=[0.1] * 6, variance=[2.0] * 6)(x),
    "Rescaling behind a pool": lambda x: layers.Rescaling(2.0, 0.5)(maxima(x)),
    "scale and offset": lambda x: tf.nn.relu(x) * 2.0 + 1.0,
    "offset from a number": lambda x: 3.0 - maxima(x),
    # Functions.
    "relu of a tensor with two readers": lambda x: layers.Add()([layers.ReLU()(x), conv(x)]),
    "relu6 behind a pool": lambda x: layers.ReLU(6.0)(maxima(x)),
    "HardSigmoid behind a pool": lambda x: HardSigmoid()(maxima(x)),
    "ReLU with limits": lambda x: layers.ReLU(1.0, negative_slope=0.1)(x),
    "LeakyReLU": lambda x: layers.LeakyReLU()(x),
    "PReLU": lambda x: layers.PReLU(shared_axes=[1, 2])(x),
    "ELU": lambda x: layers.ELU(0.7)(x),
    "selu": lambda x: layers.Activation("selu")(x),
    "gelu": lambda x: conv(x, activation="gelu"),
    "gelu by tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "tanh": lambda x: tf.tanh(x),
    "hard_sigmoid of Keras": lambda x: layers.Activation("hard_sigmoid")(x),
    "softmax inside": lambda x: layers.Softmax()(conv(x)) * conv(x),
    # Merges and operators.
    "x + y": lambda x: x + conv(x),
    "Add of three": lambda x: layers.Add()([x, conv(x), x]),
    "Add of a map and a vector": lambda x: layers.Add()([x, pooled(x)]),
    "Multiply of (N, H, W, C) and (N, C)": lambda x: layers.Multiply()(
        [x, layers.Dense(6, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))]
    ),
    "Subtract": lambda x: layers.Subtract()([x, conv(x)]),
    "Subtract of pools": lambda x: x - layers.MaxPooling2D(3, 1, "same")(x),
    "Average": lambda x: layers.Average()([x, conv(x), x]),
    "Maximum": lambda x: layers.Maximum()([x, conv(x)]),
    "Minimum": lambda x: layers.Minimum()([x, conv(x)]),
    "tf.concat": lambda x: tf.concat([x, conv(x)], -1),
    # Sequences.
    "Conv1D": lambda x: layers.ReLU()(
        layers.BatchNormalization()(layers.Conv1D(5, 3, 2, padding="same")(sequence(x)))
    ),
    "pools of sequences": lambda x: layers.Add()(
        [
            layers.MaxPooling1D(2)(sequence(x)),
            layers.AveragePooling1D(2)(sequence(x)),
        ]
    ),
    "GlobalAveragePooling1D": lambda x: layers.GlobalAveragePooling1D()(
        layers.ZeroPadding1D(1)(layers.Cropping1D(2)(layers.UpSampling1D(2)(sequence(x))))
    ),
    "causal Conv1D": lambda x: layers.Conv1D(5, 3, dilation_rate=2, padding="causal")(sequence(x)),
    "GlobalMaxPooling1D": lambda x: layers.GlobalMaxPooling1D()(sequence(x)),
    # Pools, shapes, and what does nothing.
    "AveragePooling2D same": lambda x: layers.AveragePooling2D(3, 2, "same")(x),
    "tf.reduce_mean": lambda x: tf.reduce_mean(x, [1, 2], keepdims=True),
    "tf.reshape": lambda x: tf.reshape(x, [-1, 9 * 8 * 6]),
    "Cropping2D": lambda x: layers.Cropping2D(((1, 2), (0, 1)))(x),
    "slices": lambda x: layers.Add()([x[:, 1:, :-2, :3], conv(x)[:, :-1, 2:, 3:]]),
    "slices with steps": lambda x: x[:, ::2, 1::3, 2:],
    "one place": lambda x: x[:, 0] + x[:, 2, :, :],
    "tf.nn.depth_to_space": lambda x: layers.ReLU()(tf.nn.depth_to_space(conv(x, width=8), 2)),
    "exchanged channels": lambda x: tf.concat([x[..., 3:], x[..., :3]], -1),
    "layers without effect": lambda x: functools.reduce(lambda y, layer: layer(y), idle(), x),
    "a model inside the model": lambda x: nested(x.shape[1:])(x),
    "one layer without weights, called twice": lambda x: twice(layers.ReLU(), x),
}  # fmt: skip
"""Networks behind a convolution, by what they are examples of."""

PARTITIONS = {"UpSampling2D": 2, "GlobalAveragePooling1D": 2, "UpSampling2D beside": 2}
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


@pytest.mark.parametrize("bits", [(4, 5), pytest.param((8, 8), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_exact_in_one_partition(name, bits):
    original = network(CASES[name])
    model, content = converted(original, BitPolicy(bits))
    report = tflite_tools.verify(content, model, IMAGES, integer_images=3)
    assert report.mismatches == 0, str(report)
    partitions = report.integers.kernel_sets[0].partitions
    assert partitions == PARTITIONS.get(name, 1), str(report)
    assert partitions == check_support(original).partitions


def test_every_layer_has_an_example():
    used = {
        type(call.layer)
        for connect in CASES.values()
        for call in ModelGraph(as_quantizable(network(connect))).calls
    }
    assert set(LAYERS) - used == {layers.SpatialDropout1D}


@pytest.mark.parametrize("name", CASES)
def test_rewriting_keeps_the_function(name):
    model = network(CASES[name])
    expected = model(IMAGES, training=False)
    np.testing.assert_allclose(
        as_quantizable(model)(IMAGES, training=False), expected, rtol=1e-4, atol=1e-5
    )
