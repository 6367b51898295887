"""Layers of one's own that are built of others are quantized layer by layer."""

import keras as keras3
import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from quantize_configs import (
    BitPolicy,
    UnsupportedLayerError,
    as_tf_keras,
    calibrate,
    check_support,
    prepare_for_deployment,
    quantize,
    to_keras3,
)
from quantize_configs.keras_backend import keras
from quantize_configs.rewriting import as_quantizable

IMAGES = np.random.default_rng(0).uniform(-1, 1, (8, 12, 12, 3)).astype(np.float32)


def residual_block(layers, relu):
    """A class of residual blocks, in tf_keras or Keras 3."""

    class Convolved(layers.Layer):
        def __init__(self, width, stride, **options):
            super().__init__(**options)
            self.conv = layers.Conv2D(width, 3, stride, "same", use_bias=False, name="conv")
            self.norm = layers.BatchNormalization(name="norm")

        def call(self, x, training=None):
            return self.norm(self.conv(x), training=training)

    class Block(layers.Layer):
        def __init__(self, width, stride=1, **options):
            super().__init__(**options)
            self.main = [Convolved(width, stride, name=f"main_{n}") for n in range(2)]
            self.main[1].conv.strides = (1, 1)
            self.shortcut = layers.Conv2D(width, 1, stride, name="shortcut")
            self.drop = layers.Dropout(0.5)

        def call(self, x, training=None):
            y = relu(self.main[0](x, training=training))
            y = self.drop(self.main[1](y, training=training), training=training)
            return relu(y + self.shortcut(x))

    return Block


def network(library, relu, repeat=False):
    library.utils.set_random_seed(0)
    block = residual_block(library.layers, relu)
    image = library.Input((12, 12, 3), name="image")
    x = block(4, name="a")(image)
    second = block(6, 2, name="b")
    x = second(x)
    pooled = library.layers.GlobalAveragePooling2D()(x)
    model = library.Model(image, library.layers.Dense(3, name="classifier")(pooled))
    rng = np.random.default_rng(1)
    model.set_weights([value + rng.uniform(0, 0.3, value.shape) for value in model.get_weights()])
    return model


LIBRARIES = {"tf_keras": (keras, tf.nn.relu), "Keras 3": (keras3, keras3.ops.relu)}


@pytest.mark.parametrize("library", LIBRARIES)
def test_blocks_are_quantized_exactly(library):
    model = network(*LIBRARIES[library])
    report = check_support(model)
    assert report.supported
    assert report.partitions == 1
    expected = np.asarray(model(IMAGES))
    found = as_quantizable(as_tf_keras(model))
    np.testing.assert_allclose(found(IMAGES), expected, rtol=1e-5, atol=1e-5)
    names = {layer.name for layer in found.layers}
    assert {"b.main_0.conv", "b.main_1.conv", "b.shortcut", "classifier"} <= names
    quantized = quantize(model, BitPolicy((8, 8), {"b.shortcut": (4, 8)}))
    calibrate(quantized, IMAGES)
    prepare_for_deployment(quantized)
    content = tflite_tools.convert(quantized)
    checked = tflite_tools.verify(content, quantized, IMAGES[:4], float_model=model)
    assert checked.mismatches == 0, str(checked)
    assert checked.against_float.outputs[0].sqnr > 12


def test_trained_weights_go_back_into_blocks():
    original = network(keras3, keras3.ops.relu)
    model = as_tf_keras(original)
    model.set_weights([0.9 * weight for weight in model.get_weights()])
    copy = to_keras3(model, original)
    np.testing.assert_allclose(copy(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-5)


def with_weights_of_its_own(layers, relu):
    class Scaled(layers.Layer):
        def build(self, shape):
            self.conv = layers.Conv2D(4, 1, name="conv")
            self.scale = self.add_weight(name="scale", shape=(1,), initializer="ones")
            super().build(shape)

        def call(self, x):
            return relu(self.conv(x)) * tf.reduce_max(self.scale)

    return Scaled


def test_blocks_with_several_inputs_and_outputs():
    class Both(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.conv = keras.layers.Conv2D(4, 1, name="conv")

        def call(self, x, skip=None, scale=1.0):
            y = self.conv(x) if skip is None else self.conv(x) + skip
            return {"sum": y, "relu": tf.nn.relu(y * scale)}

    image = keras.Input((12, 12, 3))
    found = Both(name="both")(image, skip=keras.layers.Conv2D(4, 1)(image), scale=2.0)
    x = keras.layers.Concatenate()([found["relu"], found["sum"]])
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(x))
    np.testing.assert_allclose(as_quantizable(model)(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-5)


def test_a_subclassed_model_of_keras3_inside_a_functional_one():
    class Inner(keras3.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.conv = keras3.layers.Conv2D(4, 1, name="conv")

        def call(self, x):
            return keras3.ops.relu(self.conv(x))

    image = keras3.Input((12, 12, 3))
    model = keras3.Model(image, keras3.layers.Conv2D(2, 1)(Inner(name="inner")(image)))
    assert check_support(model).supported
    np.testing.assert_allclose(as_tf_keras(model)(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inside", [False, True])
def test_training_in_the_network_is_refused(inside):
    class Block(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.norm = keras.layers.BatchNormalization(name="norm")

        def call(self, x):
            return self.norm(x, training=True)

    image = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(4, 1)(image)
    norm = keras.layers.BatchNormalization(name="norm")
    model = keras.Model(image, Block(name="block")(x) if inside else norm(x, training=True))
    with pytest.raises(UnsupportedLayerError, match=r"'norm' .* training=True"):
        quantize(model, BitPolicy())


def test_layers_with_weights_of_their_own_are_refused_by_name():
    image = keras.Input((12, 12, 3))
    layer = with_weights_of_its_own(keras.layers, tf.nn.relu)(name="mine")
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(layer(image)))
    report = check_support(model)
    assert [item.layer for item in report.refused] == ["mine"]
    with pytest.raises(UnsupportedLayerError, match="weights mine/scale:0 belong to no layer"):
        quantize(model, BitPolicy())


def test_a_block_of_other_outputs_is_not_taken_apart():
    """One that counts its calls gives something else in the graph than on images."""

    class Counting(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.conv = keras.layers.Conv2D(4, 1, name="conv")
            self.calls = 0

        def call(self, x):
            self.calls += 1
            return self.conv(x) * float(self.calls)

    image = keras.Input((12, 12, 3))
    model = keras.Model(image, Counting(name="counting")(image))
    (refused,) = check_support(model).refused
    assert refused.layer == "counting"
    assert "other outputs than it does on random inputs" in refused.reason
