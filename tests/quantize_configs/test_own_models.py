"""A trained model of a user's own: starts from data, habits of Keras, refusals by a sentence."""

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from quantize_configs import (
    BitPolicy,
    calibrate,
    load_model,
    prepare_for_deployment,
    quantize,
    recalibrate_normalization,
    save_model,
    sensitivity,
)
from quantize_configs.deployment import prepared_container
from quantize_configs.errors import InvalidInputError, StateError
from quantize_configs.keras_backend import keras
from quantize_configs.wrappers import WrappedModel

layers = keras.layers
RNG = np.random.default_rng(0)
IMAGES = RNG.random((64, 8, 8, 1), np.float32)
TARGETS = np.ones((64, 2), np.float32)


def small_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, name="base"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, name="head"),
        ]
    )


def noise(model, quantized, images):
    """Error of the quantized outputs as a share of the spread of the float ones."""
    expected = model.predict(images, verbose=0)
    return np.sqrt(np.mean((quantized.predict(images, verbose=0) - expected) ** 2)) / expected.std()


def test_eight_bit_codes_reach_the_ends():
    """Faults 1: LSQ's formula left 8-bit codes at +-11 to 23."""
    wrapped = WrappedModel(quantize(small_model(), BitPolicy((8, 8))))
    for name in ("base", "head"):
        steps = wrapped.weight_variables(name)["step"].numpy()[0]
        codes = np.abs(np.rint(wrapped.weight(name).numpy() / steps))
        codes = codes.reshape(-1, codes.shape[-1]).max(0)
        assert codes.min() >= 100, name
        assert codes.max() <= 135, name


def test_an_outlier_channel_is_not_clipped():
    """Faults 2: a depthwise channel 100 times as large; channel_mean loses .77 of the spread."""
    keras.utils.set_random_seed(0)
    depthwise = layers.DepthwiseConv2D(3)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            depthwise,
            layers.Conv2D(8, 1),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )
    kernel, bias = depthwise.get_weights()
    kernel[:, :, 0] *= 100
    depthwise.set_weights([kernel, bias])
    images = RNG.random((32, 16, 16, 3), np.float32)
    quantized = quantize(model, BitPolicy())
    calibrate(quantized, images)
    assert noise(model, quantized, images) < 0.03
    papers = quantize(model, BitPolicy(), estimator="channel_mean")
    calibrate(papers, images, correct_bias=False)
    assert noise(model, papers, images) > 0.3


@pytest.mark.parametrize("bits", [3, 4])
def test_learned_rounding_lowers_the_error_of_the_outputs(bits):
    model = small_model()
    nearest, corrected, learned = (quantize(model, BitPolicy((bits, 8))) for _ in range(3))
    calibrate(nearest, IMAGES, correct_bias=False)
    calibrate(corrected, IMAGES)
    assert calibrate(learned, IMAGES, learn_rounding=True, verbose=False) == 64
    others = np.random.default_rng(1).random((64, 8, 8, 1), np.float32)
    errors = [noise(model, one, others) for one in (nearest, corrected, learned)]
    assert errors[2] < 0.7 * errors[0]
    assert errors[1] < errors[0]
    wrapped = WrappedModel(learned)
    for name in ("base", "head"):  # the weights are what their codes stand for
        weight, quantizer = wrapped.weight(name), wrapped.weight_quantizer(name)
        again = quantizer(weight, False, wrapped.weight_variables(name))
        np.testing.assert_allclose(again, weight, rtol=1e-6)


def test_frozen_layers_stay_frozen(tmp_path):
    """Faults 3."""
    model = small_model()
    model.get_layer("base").trainable = False
    quantized = quantize(model, BitPolicy())
    wrapped = WrappedModel(quantized)
    kernel, step = wrapped.weight("base"), wrapped.weight_variables("base")["step"]
    before = kernel.numpy(), step.numpy()
    quantized.compile(keras.optimizers.SGD(0.1), "mse")
    quantized.fit(IMAGES, TARGETS, verbose=0)
    np.testing.assert_array_equal(kernel, before[0])
    np.testing.assert_array_equal(step, before[1])
    assert len(quantized.weights) == len({weight.ref() for weight in quantized.weights})
    save_model(quantized, tmp_path / "model")
    again = WrappedModel(load_model(tmp_path / "model"))
    assert not again.wrapper("base").trainable_weights
    wrapped.wrapper("base").trainable = True
    assert any(weight is kernel for weight in quantized.trainable_weights)


@pytest.mark.parametrize(
    "data",
    [
        IMAGES,
        (IMAGES, TARGETS),
        [IMAGES[:32], IMAGES[32:]],
        [(IMAGES[:32], TARGETS[:32]), (IMAGES[32:], TARGETS[32:])],
        tf.data.Dataset.from_tensor_slices((IMAGES, TARGETS)).batch(32),
        tf.data.Dataset.from_tensor_slices(IMAGES).batch(32),
    ],
    ids=["array", "x and y", "batches", "labelled batches", "dataset", "images in a dataset"],
)
def test_calibrate_takes_what_fit_takes(data):
    """Faults 4: (x, y) ended the process, and an array was read row by row."""
    quantized = quantize(small_model(), BitPolicy(), estimator="min_max")
    assert calibrate(quantized, data) == 64
    variables = WrappedModel(quantized).output_variables("base.input")
    expected = np.mean([IMAGES[:32].max(), IMAGES[32:].max()])
    np.testing.assert_allclose(variables["range_high"], expected, rtol=1e-6)
    assert calibrate(quantized, (batch for batch in [IMAGES[:8], IMAGES[8:16]])) == 16
    assert calibrate(quantized, IMAGES, batches=1) == 32


@pytest.mark.parametrize("data", [IMAGES[0], [IMAGES[..., 0]], 7, [np.zeros((2, 9, 8, 1))]])
def test_data_that_does_not_fit_is_refused(data):
    quantized = quantize(small_model(), BitPolicy())
    with pytest.raises(InvalidInputError, match="array of images"):
        calibrate(quantized, data)


@pytest.mark.parametrize("save", [lambda m, p: m.save(p), lambda m, p: m.save_weights(p)])
@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5", "folder"])
def test_files_of_keras_are_refused(save, name, tmp_path):
    """Faults 6: they were written, and could not be read."""
    with pytest.raises(StateError, match="save_model"):
        save(quantize(small_model(), BitPolicy()), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_sensitivity_is_that_of_the_quantizer_of_quantize():
    """Faults 8: the loss that was promised for 4 bits is the loss there."""
    model = small_model()
    loss = keras.losses.MeanSquaredError()
    measured = sensitivity(model, [(IMAGES, TARGETS)], loss=loss, bits=(4,))
    quantized = quantize(model, BitPolicy((8, 8), {"head": (4, 8)}), tensor_quantizers=False)
    wrapped = WrappedModel(quantized)
    for name in ("base", "head"):
        quantizer, variables = wrapped.weight_quantizer(name), wrapped.weight_variables(name)
        model.get_layer(name).kernel.assign(quantizer(wrapped.weight(name), False, variables))
    there = float(loss(TARGETS, model(IMAGES)))
    assert measured.loss + measured.increases["head"][4] == pytest.approx(there, rel=1e-4)


def test_sensitivity_without_labels():
    model = small_model()
    measured = sensitivity(model, IMAGES, bits=(2, 4))
    assert 0 < measured.loss < 1e-3
    assert measured.increases["head"][2] > measured.increases["head"][4] > 0
    halves = [IMAGES[:32], IMAGES[32:]]
    assert sensitivity(model, halves, bits=(2, 4)).increases == measured.increases
    with pytest.raises(InvalidInputError, match="needs labels"):
        sensitivity(model, IMAGES, loss="mse")


def test_validation_data_from_the_first_epoch():
    """Faults 11."""
    quantized = quantize(small_model(), BitPolicy())
    quantized.compile("sgd", "mse")
    history = quantized.fit(
        IMAGES, TARGETS, validation_data=(IMAGES, TARGETS), epochs=2, verbose=0
    ).history
    assert np.isfinite(history["val_loss"]).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"quantize_configs\.calibrate"):
        quantized.predict(IMAGES, verbose=0)
    calibrate(quantized, IMAGES)
    low = WrappedModel(quantized).output_variables("base.input")["range_high"].numpy()
    quantized.fit(IMAGES, TARGETS, validation_data=(IMAGES, TARGETS), verbose=0)
    assert WrappedModel(quantized).output_variables("base.input")["range_high"].numpy() == low


def test_training_after_the_preparation_is_noticed():
    """Biases are no longer integers then, and the model is not prepared any more."""
    quantized = quantize(small_model(), BitPolicy())
    calibrate(quantized, IMAGES)
    prepare_for_deployment(quantized)
    assert prepared_container(quantized) == "auto"
    quantized.compile("sgd", "mse")
    quantized.fit(IMAGES, TARGETS, verbose=0)
    assert prepared_container(quantized) is None


def test_quantized_models_are_refused():
    """Faults 12."""
    with pytest.raises(InvalidInputError, match="quantized already"):
        quantize(quantize(small_model(), BitPolicy()), BitPolicy((4, 4)))


def test_models_in_16_bits_are_taken_in_float32():
    """Faults 12: trained, calibrated and converted, whatever the global policy is then."""
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        half = small_model()
        quantized = quantize(half, BitPolicy())
        assert keras.mixed_precision.global_policy().name == "mixed_float16"
        quantized.compile("sgd", "mse")
        quantized.fit(IMAGES, TARGETS, verbose=0)
        calibrate(quantized, IMAGES)
    finally:
        keras.mixed_precision.set_global_policy(None)
    assert {layer.compute_dtype for layer in half.layers} == {"float16"}
    assert {layer.compute_dtype for layer in quantized.layers} == {"float32"}
    prepare_for_deployment(quantized)
    assert len(tflite_tools.convert(quantized)) > 0
    again = quantize(half, BitPolicy())
    calibrate(again, IMAGES)
    np.testing.assert_allclose(
        again(IMAGES, training=False), half(IMAGES, training=False), atol=0.05
    )


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.DepthwiseConv2D])
def test_negative_gains_are_turned_over(kind):
    keras.utils.set_random_seed(0)
    options = {"filters": 6} if kind is layers.Conv2D else {"depth_multiplier": 2}
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            kind(kernel_size=3, name="base", bias_initializer="uniform", **options),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
        ]
    )
    norm = model.get_layer("norm")
    norm.set_weights(
        [
            np.array([1, -2, 0.5, -0.1, 3, -1], np.float32),
            *np.random.default_rng(2).random((3, 6), np.float32),
        ]
    )
    images = np.random.default_rng(3).random((4, 8, 8, 3), np.float32)
    quantized = quantize(model, BitPolicy((8, 8)))
    calibrate(quantized, images)
    assert (WrappedModel(quantized).wrapper("norm").layer.gamma.numpy() > 0).all()
    assert noise(model, quantized, images) < 0.02


def test_labels_of_any_shape():
    """Faults 7: (N, 1) was broadcast, one-hot an error of NumPy."""
    quantized = quantize(small_model(), BitPolicy())
    calibrate(quantized, IMAGES)
    prepare_for_deployment(quantized)
    flatbuffer = tflite_tools.convert(quantized)
    labels = quantized.predict(IMAGES, verbose=0).argmax(-1)
    for given in (labels, labels[:, None], np.eye(2)[labels]):
        report = tflite_tools.verify(flatbuffer, quantized, IMAGES, labels=given, integer_images=2)
        assert report.keras_accuracy == 1.0
    with pytest.raises(InvalidInputError, match="one-hot"):
        tflite_tools.verify(flatbuffer, quantized, IMAGES, labels=labels[:, None, None])


def test_normalization_is_measured_anew():
    model = small_model()
    for one in (model, quantize(model, BitPolicy())):
        assert recalibrate_normalization(one, IMAGES) == 64
    norm = model.get_layer("norm")
    features = keras.Model(model.inputs, model.get_layer("base").output)(IMAGES).numpy()
    halves = features[:32], features[32:]
    np.testing.assert_allclose(
        norm.moving_mean, np.mean([half.mean((0, 1, 2)) for half in halves], 0), rtol=1e-4
    )
    np.testing.assert_allclose(
        norm.moving_variance, np.mean([half.var((0, 1, 2)) for half in halves], 0), rtol=1e-2
    )
    again = WrappedModel(one).wrapper("norm").layer
    np.testing.assert_allclose(again.moving_mean, norm.moving_mean, atol=0.02)
    assert norm.momentum == 0.99
    with pytest.raises(InvalidInputError, match="no batch normalization"):
        recalibrate_normalization(keras.Sequential([keras.Input((4,)), layers.Dense(2)]), IMAGES)
