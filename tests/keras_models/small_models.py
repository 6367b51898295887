"""Small Keras models of awkward topology, trained to nothing but with lively normalizations."""

import numpy as np

from quantize_configs.keras_backend import keras

layers = keras.layers
SIZE = 16


def plain():
    """Convolutions with biases, stride by pooling, flattened into dense layers."""
    x = inputs = keras.Input((SIZE, SIZE, 1), name="picture")
    for i, width in enumerate((8, 16)):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv_{i}")(x)
        x = layers.MaxPooling2D(name=f"pool_{i}")(x)
        x = layers.Dropout(0.2, name=f"drop_{i}")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(24, activation="relu", name="hidden")(x)
    return keras.Model(
        inputs, layers.Dense(5, activation="softmax", name="answer")(x), name="plain"
    )


def residual():
    """Pre-activation blocks of depthwise convolutions and squeeze-excite, two of them optional."""
    inputs = keras.Input((SIZE, SIZE, 3), name="picture")
    x = layers.Rescaling(2.0, -1.0, name="centred")(inputs)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name="border")(x)
    x = layers.Conv2D(16, 3, 2, use_bias=False, name="stem")(x)
    for i in range(2):
        y = layers.BatchNormalization(name=f"norm_{i}")(x)
        y = layers.Activation("relu", name=f"relu_{i}")(y)
        y = layers.Conv2D(32, 1, name=f"expand_{i}")(y)
        y = layers.BatchNormalization(name=f"expand_norm_{i}")(y)
        y = layers.Activation("swish", name=f"swish_{i}")(y)
        y = layers.DepthwiseConv2D(5, padding="same", use_bias=False, name=f"spatial_{i}")(y)
        y = layers.BatchNormalization(scale=False, name=f"spatial_norm_{i}")(y)
        z = layers.GlobalAveragePooling2D(name=f"mean_{i}")(y)
        z = layers.Reshape((1, 1, 32), name=f"mean_map_{i}")(z)
        z = layers.Conv2D(8, 1, activation="relu", name=f"squeeze_{i}")(z)
        z = layers.Conv2D(32, 1, activation="sigmoid", name=f"gate_{i}")(z)
        y = layers.Multiply(name=f"gated_{i}")([z, y])
        x = layers.Add(name=f"sum_{i}")([layers.Conv2D(16, 1, name=f"project_{i}")(y), x])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(5, name="answer")(x), name="residual")


def branches():
    """Inception: branches with kernels that are not square, average pooling, concatenations."""
    inputs = keras.Input((SIZE, SIZE, 1), name="picture")
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="stem")(inputs)
    one = layers.Conv2D(16, 1, name="one")(x)
    two = layers.Conv2D(16, (1, 5), padding="same", use_bias=False, name="two_row")(x)
    two = layers.Conv2D(16, (5, 1), padding="same", use_bias=False, name="two_column")(two)
    two = layers.ReLU(name="two_relu")(layers.BatchNormalization(name="two_norm")(two))
    three = layers.AveragePooling2D(3, 1, padding="same", name="three_pool")(x)
    three = layers.Conv2D(16, 1, activation="relu", name="three")(three)
    x = layers.Concatenate(name="joined")([one, two, three])
    x = layers.BatchNormalization(name="joined_norm")(x)
    x = layers.SeparableConv2D(24, 3, padding="same", activation="relu6", name="separable")(x)
    x = layers.UpSampling2D(2, name="larger")(layers.MaxPooling2D(2, name="smaller")(x))
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = layers.Flatten(name="flat")(layers.Conv2D(5, 1, name="answer")(x))
    return keras.Model(inputs, x, name="branches")


def dense_connections():
    """Every block reads all before it, through a normalization that stands alone."""
    inputs = keras.Input((SIZE, SIZE, 1), name="picture")
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="stem")(inputs)
    for i in range(3):
        y = layers.BatchNormalization(name=f"norm_{i}")(x)
        y = layers.ReLU(name=f"relu_{i}")(y)
        y = layers.Conv2D(16, 3, padding="same", use_bias=False, name=f"grow_{i}")(y)
        x = layers.Concatenate(name=f"joined_{i}")([x, y])
    x = layers.BatchNormalization(name="last_norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(5, name="answer")(x), name="dense_connections")


def tied():
    """Groups, a tensor beside itself, sums of concatenations, operators written as `+`."""
    inputs = keras.Input((SIZE, SIZE, 1), name="picture")
    x = layers.Conv2D(16, 3, strides=2, padding="same", name="stem")(inputs)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    y = layers.Conv2D(16, 3, padding="same", groups=4, use_bias=False, name="grouped")(x)
    y = layers.ReLU(6.0, name="grouped_relu")(layers.BatchNormalization(name="grouped_norm")(y))
    z = layers.Concatenate(name="twice")([y, y])
    z = layers.Conv2D(16, 1, use_bias=False, name="mixed")(z)
    halves = [layers.Conv2D(8, 1, name=f"half_{i}")(x) for i in range(2)]
    z = layers.BatchNormalization(name="mixed_norm")(z) + layers.Concatenate(name="halves")(halves)
    z = layers.ReLU(name="sum_relu")(z)
    z = layers.Conv2D(1, 3, padding="same", name="single")(z)
    z = layers.Conv2D(16, 3, padding="same", activation="relu", name="again")(z)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Average(name="mean")([z, x]))
    return keras.Model(inputs, layers.Dense(5, activation="softmax", name="answer")(x), name="tied")


def dilated():
    """Kernels with holes of both kinds and paddings, leaky functions, a global maximum."""
    inputs = keras.Input((SIZE, SIZE, 1), name="picture")
    x = layers.Conv2D(16, 3, strides=2, padding="same", name="stem")(inputs)
    x = layers.LeakyReLU(0.1, name="stem_leak")(x)
    y = layers.Conv2D(24, 3, padding="same", dilation_rate=2, use_bias=False, name="wide")(x)
    y = layers.ReLU(name="wide_relu")(layers.BatchNormalization(name="wide_norm")(y))
    y = layers.DepthwiseConv2D(3, padding="same", dilation_rate=3, name="holes")(y)
    y = layers.ReLU(negative_slope=0.3, name="holes_leak")(y)
    x = layers.Add(name="sum")([layers.Conv2D(16, 1, name="narrow")(y), x])
    start = keras.initializers.RandomUniform(-0.5, 0.8)
    x = layers.PReLU(start, shared_axes=[1, 2], name="slopes")(x)
    x = layers.Conv2D(16, 3, dilation_rate=2, activation="relu", name="valid")(x)
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(5, name="answer")(x), name="dilated")


MODELS = {
    make.__name__: make for make in (plain, residual, branches, dense_connections, tied, dilated)
}


def made(make, seed=0):
    """A model with random weights, gains of both signs and statistics of normalizations."""
    keras.utils.set_random_seed(seed)
    model = make()
    enliven(model, seed)
    return model


def enliven(model, seed=0):
    """Gives normalizations statistics, and gains and offsets, that matter."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if not isinstance(layer, layers.BatchNormalization):
            continue
        size = layer.moving_mean.shape
        layer.moving_mean.assign(rng.normal(0.0, 0.1, size))
        layer.moving_variance.assign(rng.uniform(0.3, 2.0, size))
        if layer.scale:
            layer.gamma.assign(rng.uniform(0.5, 1.5, size) * rng.choice([-1.0, 1.0], size))
        layer.beta.assign(rng.normal(0.0, 0.2, size))
