"""Training without labels by the outputs of the float model."""

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import (
    BitPolicy,
    InvalidInputError,
    StateError,
    UncalibratedError,
    calibrate,
    distill,
    distillation,
    prepare_for_deployment,
    quantize,
)
from quantize_configs.deployment import prepared_container
from quantize_configs.keras_backend import keras

layers = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(64, 6, 6, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def teacher() -> keras.Model:
    """A small float network."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(4, name="logits")(x))


def _quantized(teacher, bits=(2, 3)):
    model = quantize(teacher, BitPolicy(bits))
    calibrate(model, IMAGES, correct_bias=False)
    return model


def _noise(model, teacher):
    expected = teacher(IMAGES, training=False).numpy()
    return np.sum((model(IMAGES, training=False).numpy() - expected) ** 2) / np.sum(expected**2)


def test_the_outputs_come_nearer_to_those_of_the_teacher(teacher):
    model = _quantized(teacher)
    before = _noise(model, teacher)
    statistics = model.get_layer("quant_norm").layer.moving_mean.numpy()
    history = distill(model, teacher, IMAGES, epochs=30, batch_size=16, verbose=False)
    assert len(history) == 30
    assert _noise(model, teacher) < 0.6 * before
    prepare_for_deployment(model)
    assert _noise(model, teacher) < 0.7 * before
    np.testing.assert_array_equal(
        model.get_layer("quant_norm").layer.moving_mean.numpy(), statistics
    )


def test_frozen_layers_stay_frozen(teacher):
    teacher.get_layer("conv").trainable = False
    try:
        model = _quantized(teacher)
    finally:
        teacher.get_layer("conv").trainable = True
    prepare_for_deployment(model)
    kernel = model.get_layer("quant_conv").weights[0]
    before, logits = kernel.numpy(), model.get_layer("quant_logits").layer.bias.numpy()
    distill(model, teacher, IMAGES, batch_size=32, verbose=False)
    assert prepared_container(model) is None
    np.testing.assert_array_equal(kernel.numpy(), before)
    assert not np.array_equal(model.get_layer("quant_logits").layer.bias.numpy(), logits)


def test_no_step_that_is_not_finite_is_taken(teacher):
    model = _quantized(teacher)
    before = [weight.numpy() for weight in model.weights]
    images = np.where(IMAGES > 2.9, np.nan, IMAGES)
    with pytest.raises(StateError, match="not taken"):
        distill(model, teacher, images, batch_size=64, verbose=False)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_what_does_not_fit(teacher):
    with pytest.raises(UncalibratedError, match="has no range yet"):
        distill(quantize(teacher, BitPolicy()), teacher, IMAGES)
    with pytest.raises(InvalidInputError, match="Received a float model"):
        distill(teacher, teacher, IMAGES)
    other = keras.Sequential([keras.Input((6, 6, 2)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(InvalidInputError, match=r"those of the teacher \[\(2,\)\]"):
        distill(_quantized(teacher), other, IMAGES)


@pytest.mark.parametrize(
    ("end", "counts_answers"),
    [
        (layers.Dense(3), True),
        (layers.Dense(3, activation="softmax"), False),
        (layers.Softmax(), False),
        (layers.Dense(3, activation="sigmoid"), False),
        (layers.Dense(1), False),
        (layers.Reshape((3, 1)), False),
    ],
)
def test_the_loss_of_logits_counts_answers(end, counts_answers):
    """Outputs that are half as large have a share of noise of 1/4, and softer answers."""
    model = keras.Sequential([keras.Input((3,)), end])
    loss = distillation.output_loss(model.outputs[0])
    shape = (2, *model.output_shape[1:])
    wanted = tf.constant(np.random.default_rng(0).uniform(-4, 4, shape), tf.float32)
    assert float(loss(wanted, wanted)) == pytest.approx(0, abs=1e-6)
    assert (float(loss(wanted, wanted / 2)) > 0.26) == counts_answers
    assert float(distillation.noise_share(wanted, wanted / 2)) == pytest.approx(0.25)


def test_the_divergence_is_that_of_softmax():
    wanted, found = np.random.default_rng(0).uniform(-2, 2, (2, 4, 5))
    p, q = (np.exp(one) / np.exp(one).sum(1, keepdims=True) for one in (wanted, found))
    expected = np.mean(np.sum(p * np.log(p / q), 1))
    found = distillation.divergence(tf.constant(wanted), tf.constant(found))
    assert float(found) == pytest.approx(expected, rel=1e-6)
