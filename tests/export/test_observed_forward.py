"""One pass through Keras for all tensors, and layers that are taken instead of copied."""

import numpy as np

import tflite_tools
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.forward import observed_forward
from quantize_configs.keras_backend import keras
from quantize_configs.wrappers import WrappedModel

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(0, 1, (12, 8, 8, 3)).astype(np.float32)


def float_model():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = layers.ReLU(name="stem.relu")(layers.BatchNormalization(name="stem.norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Dropout(0.5, name="dropout")(layers.Add(name="sum")([x, y]))
    x = layers.Concatenate(name="joined")([x, y])
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(4, name="logits")(x))


def deployable(**options):
    model = quantize(float_model(), BitPolicy((4, 8)), **options)
    calibrate(model, [IMAGES])
    prepare_for_deployment(model)
    return model


def test_observed_tensors_and_output_are_those_of_the_model():
    model = deployable()
    wrapped = WrappedModel(model)
    names = ["stem.relu", "sum", "logits"]
    (output,), observed = observed_forward(wrapped.graph, [IMAGES], names, 5)
    tensors = [wrapped.wrapper(name).output for name in names]
    expected = keras.Model(model.inputs, tensors)(IMAGES, training=False)
    np.testing.assert_array_equal(output, model(IMAGES, training=False))
    assert sorted(observed) == sorted(names)
    for name, values in zip(names, expected, strict=True):
        np.testing.assert_array_equal(observed[name], values[:5])


def test_taken_layers_give_the_same_model():
    source = float_model()
    taken = quantize(source, BitPolicy((4, 8)), take_layers=True)
    assert taken.get_layer("quant_stem").layer is source.get_layer("stem")
    copied = quantize(float_model(), BitPolicy((4, 8)))
    assert [it.name for it in taken.weights] == [it.name for it in copied.weights]
    assert copied.get_layer("quant_stem").layer is not source.get_layer("stem")
    assert tflite_tools.convert(deployable(take_layers=True)) == tflite_tools.convert(deployable())
