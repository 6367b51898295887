"""A small MobileNetV3 with the layer names that an extracted subnet has."""

import numpy as np

from quantize_configs import BitPolicy, HardSigmoid, HardSwish
from quantize_configs.keras_backend import keras

layers = keras.layers
SHAPE = (12, 12, 3)


def mobilenet_v3():
    """Hard-swish and ReLU, with squeeze-excite and without, a residual sum."""
    image = keras.Input(SHAPE, name="image")
    x = _site(layers.Conv2D(16, 3, 2, "same", use_bias=False, name="stem"), image, HardSwish)
    x = _block(x, "s0.b0", 24, 16, HardSwish, squeeze=8, residual=True)
    x = _block(x, "s1.b0", 24, 16, layers.ReLU, squeeze=8, strides=2)
    x = _site(layers.Conv2D(32, 1, use_bias=False, name="head.expand"), x, HardSwish)
    x = layers.GlobalAveragePooling2D(name="head.pool")(x)
    x = HardSwish(name="head.mix.activation")(layers.Dense(24, name="head.mix")(x))
    return keras.Model(image, layers.Dense(10, name="classifier")(x), name="mobilenet_v3")


def mixed_policy(model):
    """All of 2, 3, 4 and 8 bits at the sites; squeeze-excite keeps the default of 8."""
    kinds = (layers.Conv2D, layers.Dense)  # DepthwiseConv2D is a Conv2D
    sites = [
        layer.name
        for layer in model.layers
        if isinstance(layer, kinds) and ".se." not in layer.name
    ]
    pairs = [(2, 4), (3, 3), (4, 8), (8, 2)]
    return BitPolicy((8, 8), {name: pairs[i % 4] for i, name in enumerate(sites)})


def randomize(model, seed=0):
    """Normalizations and biases as training leaves them."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(generator.uniform(0.5, 2.0, layer.gamma.shape))
            layer.beta.assign(generator.normal(0, 0.5, layer.beta.shape))
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(generator.normal(0, 0.5, layer.bias.shape))


def _site(linear, x, activation=None):
    x = layers.BatchNormalization(name=f"{linear.name}.norm")(linear(x))
    return x if activation is None else activation(name=f"{linear.name}.activation")(x)


def _block(x, name, width, output, activation, squeeze, strides=1, residual=False):
    source = x
    expand = layers.Conv2D(width, 1, use_bias=False, name=f"{name}.expand")
    x = _site(expand, x, activation)
    depthwise = layers.DepthwiseConv2D(3, strides, "same", use_bias=False, name=f"{name}.depthwise")
    x = _site(depthwise, x, activation)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.se.pool")(x)
    gate = layers.Conv2D(squeeze, 1, name=f"{name}.se.reduce")(gate)
    gate = layers.ReLU(name=f"{name}.se.reduce.activation")(gate)
    gate = layers.Conv2D(width, 1, name=f"{name}.se.expand")(gate)
    gate = HardSigmoid(name=f"{name}.se.gate")(gate)
    x = layers.Multiply(name=f"{name}.se.scale")([x, gate])
    x = _site(layers.Conv2D(output, 1, use_bias=False, name=f"{name}.project"), x)
    return layers.Add(name=f"{name}.sum")([x, source]) if residual else x
