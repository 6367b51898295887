"""Models as users bring them, the digits they are trained on, and the way to a flatbuffer."""

import functools

import numpy as np
import sklearn.datasets

from quantize_configs import BitPolicy, calibrate, quantize
from quantize_configs.deployment import prepare_for_deployment
from quantize_configs.keras_backend import keras
from quantize_configs.wrappers import WrappedModel
from tflite_tools.conversion import graph_of
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.lowering import ConversionOptions

layers = keras.layers
TRAINING_IMAGES = 1280
BATCH_SIZE = 64


@functools.cache
def digits():
    """(training images, training labels, test images, test labels) of sklearn's 8 x 8 digits."""
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 8.0 - 1.0).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    split = TRAINING_IMAGES
    return images[:split], labels[:split], images[split:], labels[split:]


def plain():
    """Convolutions with biases, pools, Flatten and Dense; a Sequential."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(12, 3, padding="same", activation="relu", name="conv_1"),
            layers.MaxPooling2D(name="max_pool"),
            layers.Conv2D(16, 3, padding="same", name="conv_2"),
            layers.ReLU(name="relu_2"),
            layers.AveragePooling2D(name="average_pool"),
            layers.Dropout(0.1, name="dropout"),
            layers.Flatten(name="flatten"),
            layers.Dense(24, activation="relu", name="hidden"),
            layers.Dense(10, name="logits"),
        ],
        name="plain",
    )


def mobile():
    """Inverted residuals: 1x1, depthwise, 1x1, batch normalization, ReLU6, a residual sum."""
    images = keras.Input((8, 8, 1), name="images")
    x = _normalized(layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem"), images, 6)
    for number, (width, strides) in enumerate(((8, 1), (12, 2)), 1):
        y = _normalized(layers.Conv2D(24, 1, use_bias=False, name=f"expand_{number}"), x, 6)
        depthwise = layers.DepthwiseConv2D(
            3, strides, padding="same", use_bias=False, name=f"depthwise_{number}"
        )
        y = _normalized(depthwise, y, 6)
        y = _normalized(layers.Conv2D(width, 1, use_bias=False, name=f"project_{number}"), y, None)
        x = layers.Add(name=f"sum_{number}")([x, y]) if strides == 1 else y
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(10, name="logits")(x), name="mobile")


def residual():
    """A ResNet block with a shortcut convolution: one tensor read at two bit-widths."""
    images = keras.Input((8, 8, 1), name="images")
    x = _normalized(layers.Conv2D(12, 3, padding="same", name="stem"), images)
    y = _normalized(layers.Conv2D(16, 3, 2, padding="same", name="conv_1"), x)
    y = _normalized(layers.Conv2D(16, 3, padding="same", name="conv_2"), y, None)
    shortcut = _normalized(layers.Conv2D(16, 1, 2, name="shortcut"), x, None)
    x = layers.ReLU(name="relu")(layers.Add(name="sum")([y, shortcut]))
    y = _normalized(layers.Conv2D(16, 1, name="conv_3"), x)
    x = layers.Add(name="last_sum")([x, y])
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = layers.Conv2D(10, 1, name="logits")(x)
    return keras.Model(images, layers.Reshape((10,), name="flat")(x), name="residual")


def _normalized(linear, x, relu_limit=0):
    x = layers.BatchNormalization(momentum=0.9, name=f"{linear.name}_bn")(linear(x))
    if relu_limit is None:
        return x
    return layers.ReLU(relu_limit or None, name=f"{linear.name}_relu")(x)


def set_gammas(model, gammas):
    """Overwrites the first values of the gain of batch normalizations, by layer name."""
    for name, values in gammas.items():
        gamma = model.get_layer(name).gamma
        gamma.assign(np.concatenate([values, gamma.numpy()[len(values) :]]))


def train(model, epochs, learning_rate=0.01):
    """Fits the digits; returns the losses of the epochs."""
    images, labels, _, _ = digits()
    keras.utils.set_random_seed(1)
    model.compile(
        keras.optimizers.legacy.Adam(learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model.fit(images, labels, BATCH_SIZE, epochs, verbose=0).history["loss"]


def calibration_batches():
    images = digits()[0]
    return [images[start : start + BATCH_SIZE] for start in range(0, 640, BATCH_SIZE)]


def deployable(float_model, policy, epochs=2, weight_container="auto"):
    """Quantizes, trains, calibrates and prepares a model."""
    model = quantize(float_model, policy)
    train(model, epochs)
    calibrate(model, calibration_batches())
    prepare_for_deployment(model, weight_container)
    return model


MIXED = {
    "plain": BitPolicy((8, 8), {"conv_2": (3, 4), "hidden": (2, 4)}),
    "mobile": BitPolicy(
        (4, 4),
        {
            "stem": (8, 8),
            "expand_1": (2, 3),
            "depthwise_1": (4, 3),
            "project_1": (3, 4),
            "depthwise_2": (3, 4),
            "project_2": (2, 4),
            "logits": (8, 8),
        },
    ),
    "residual": BitPolicy(
        (4, 4),
        {"stem": (8, 8), "conv_1": (3, 3), "shortcut": (4, 4), "conv_3": (2, 3), "logits": (8, 8)},
    ),
}


def differing_codes(model, images):
    """Share of int8 codes in which LiteRT (XNNPACK) and Keras differ, by tensor.

    Codes below the lowest of a grid count as the lowest: readers cut them off.
    """
    wrapped = WrappedModel(model)
    graph = graph_of(model, ConversionOptions())
    codes = runtime.run(emit(graph, all_outputs=True), [images], KernelSet.XNNPACK).outputs
    names = [name for name in codes if name in wrapped.graph.by_name]
    tensors = [wrapped.wrapper(name).output for name in names]
    shares = {}
    for name, output in zip(names, keras.Model(model.input, tensors)(images), strict=True):
        grid = graph.tensor(name).quantization
        expected = np.rint(output.numpy() / np.float32(grid.scale)) + grid.zero_point
        lowest = 128 - 2 ** _bits(wrapped, name)
        shares[name] = np.mean(np.clip(codes[name], lowest, 127) != np.clip(expected, lowest, 127))
    return shares


def _bits(wrapped, name):
    """Bits of the grid a tensor lies on: its own, that of the next quantizer, or its source's."""
    last = name
    while last is not None and not wrapped.output_quantizer(last):
        reader = wrapped.graph.sole_reader(last)
        last = None if reader is None else reader.name
    if last is not None:
        return wrapped.activation_grid(last)[2]
    (source,) = wrapped.graph.by_name[name].inputs
    return _bits(wrapped, source)
