"""Biases that calibration corrects: by default as long as a model is as `quantize` made it."""

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import (
    BitPolicy,
    calibrate,
    distill,
    load_model,
    prepare_for_deployment,
    quantize,
    recalibrate_normalization,
    save_model,
)
from quantize_configs.calibration_data import ImageSample
from quantize_configs.keras_backend import keras
from quantize_configs.saving import named_weights
from quantize_configs.wrappers import WrappedModel

layers = keras.layers
IMAGES = np.random.default_rng(0).random((48, 8, 8, 2), np.float32)
OTHERS = np.random.default_rng(1).random((48, 8, 8, 2), np.float32)
POLICY = BitPolicy((3, 8))
ADDED = {"stem": "norm/moving_mean:0", "depthwise": "depthwise/bias:0", "head": "head/bias:0"}
"""Where the correction of each layer goes."""


def small_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(8, 3, use_bias=False, name="stem"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, activation="relu", name="depthwise"),
            layers.Conv2D(8, 3, groups=2, name="grouped"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="head"),
        ]
    )


def corrections(model, quantized):
    """By layer, how far a bias (or the mean of a normalization) is from that of the float model."""
    weights = {name.split("quant_")[-1]: w.numpy() for name, w in named_weights(quantized).items()}
    found = {}
    for name, path in ADDED.items():
        layer, kind = path.split("/")
        given = model.get_layer(layer)
        given = given.moving_mean if kind == "moving_mean:0" else given.bias
        found[name] = np.abs(weights[path] - given.numpy()).max()
    return found


@pytest.fixture(scope="module")
def model():
    return small_model()


def test_the_mean_of_each_output_is_that_of_the_float_model(model):
    means = {}
    for correct in (None, False):
        quantized = quantize(model, POLICY)
        calibrate(quantized, IMAGES, correct_bias=correct)
        for name in ("depthwise", "grouped", "head"):
            end = WrappedModel(quantized).wrapper(name).output
            inner = keras.Model(quantized.inputs, end)(IMAGES, training=False)
            wanted = keras.Model(model.inputs, model.get_layer(name).output)(IMAGES)
            lost = np.mean(inner, (0, *range(1, inner.ndim - 1))) - np.mean(
                wanted, (0, *range(1, inner.ndim - 1))
            )
            means[name, correct] = np.abs(lost).max()
    for name in ("depthwise", "grouped", "head"):
        assert means[name, None] < 0.3 * means[name, False], means


def test_none_corrects_what_is_as_quantize_made_it(model):
    quantized, asked = (quantize(model, POLICY) for _ in range(2))
    calibrate(quantized, IMAGES)
    calibrate(asked, IMAGES, correct_bias=True)
    assert min(corrections(model, quantized).values()) > 1e-3
    for name, weight in named_weights(asked).items():
        np.testing.assert_array_equal(weight, named_weights(quantized)[name], err_msg=name)


def test_another_calibration_corrects_anew(model):
    once, again, without = (quantize(model, POLICY) for _ in range(3))
    calibrate(once, IMAGES)
    calibrate(again, OTHERS)
    calibrate(again, IMAGES)
    calibrate(without, IMAGES)
    calibrate(without, IMAGES, correct_bias=False)
    for name, weight in named_weights(once).items():
        np.testing.assert_allclose(named_weights(again)[name], weight, atol=1e-6, err_msg=name)
    assert max(corrections(model, without).values()) < 1e-6


def test_prepared_models_are_corrected_anew(model):
    once, again = (quantize(model, POLICY) for _ in range(2))
    calibrate(once, IMAGES)
    calibrate(again, IMAGES)
    prepare_for_deployment(again)
    calibrate(again, IMAGES)
    first, second = (corrections(model, one) for one in (once, again))
    for name, value in first.items():  # up to the rounding of biases
        assert second[name] == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_images_of_any_type_are_taken(model, dtype):
    images = (8 * IMAGES).astype(dtype)
    quantized, expected = (quantize(model, POLICY) for _ in range(2))
    calibrate(quantized, images)
    calibrate(expected, images.astype(np.float32))
    for name, weight in named_weights(expected).items():
        np.testing.assert_array_equal(named_weights(quantized)[name], weight, err_msg=name)


def fit(quantized, model):
    quantized.compile("sgd", "mse")
    quantized.fit(IMAGES, np.ones((48, 3), np.float32), verbose=0)


def step_by_hand(quantized, model):
    for weight in quantized.trainable_weights:
        weight.assign(weight * 1.01)


def distilled(quantized, model):
    calibrate(quantized, IMAGES, correct_bias=False)
    distill(quantized, model, IMAGES, verbose=False)


def statistics_measured(quantized, model):
    recalibrate_normalization(quantized, IMAGES)


def restored(quantized, model):
    quantized.set_weights(quantized.get_weights())


@pytest.mark.parametrize(
    "change",
    [fit, step_by_hand, distilled, statistics_measured, restored],
    ids=lambda f: f.__name__,
)
def test_what_was_trained_stays(model, change):
    quantized = quantize(model, POLICY)
    change(quantized, model)
    before = {
        name: weight.numpy()
        for name, weight in named_weights(quantized).items()
        if name.endswith(("/bias:0", "/moving_mean:0"))
    }
    assert len(before) == 4
    calibrate(quantized, IMAGES)
    for name, value in before.items():
        np.testing.assert_array_equal(named_weights(quantized)[name], value, err_msg=name)


def test_a_failed_calibration_leaves_corrections_as_they_were(model):
    quantized = quantize(model, POLICY)
    calibrate(quantized, IMAGES)
    before = {name: weight.numpy() for name, weight in named_weights(quantized).items()}
    with pytest.raises(ValueError, match="shapes"):
        calibrate(quantized, [OTHERS, OTHERS[:, :4]])
    for name, weight in named_weights(quantized).items():
        np.testing.assert_array_equal(weight, before[name], err_msg=name)
    calibrate(quantized, IMAGES)
    for name, weight in named_weights(quantized).items():
        np.testing.assert_allclose(weight, before[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("is_calibrated", [False, True])
def test_files_know_whether_a_model_was_trained(model, tmp_path, is_calibrated):
    quantized, expected = (quantize(model, POLICY) for _ in range(2))
    if is_calibrated:
        calibrate(quantized, OTHERS)
    save_model(quantized, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    calibrate(loaded, IMAGES)
    calibrate(expected, IMAGES)
    for name, weight in named_weights(expected).items():
        np.testing.assert_allclose(named_weights(loaded)[name], weight, atol=1e-6, err_msg=name)
    fit(loaded, model)
    save_model(loaded, tmp_path / "trained")
    trained = load_model(tmp_path / "trained")
    before = named_weights(trained)["quant_head/bias:0"].numpy()
    calibrate(trained, IMAGES)
    np.testing.assert_array_equal(named_weights(trained)["quant_head/bias:0"], before)


def test_open_sizes_are_calibrated_without_correction():
    keras.utils.set_random_seed(0)
    pool = layers.GlobalAveragePooling2D()
    model = keras.Sequential([keras.Input((None, None, 2)), layers.Conv2D(4, 3), pool])
    quantized = quantize(model, POLICY, tensor_quantizers=False)
    assert calibrate(quantized, [IMAGES[:4], IMAGES[:4, :6]]) == 8


def test_samples_are_drawn_evenly():
    sample = ImageSample(200)
    for start in range(0, 1000, 50):
        numbers = np.arange(start, start + 50)
        sample.add([numbers, -numbers])
    first, second = sample.images()
    np.testing.assert_array_equal(first, -second)
    assert len(set(first)) == 200
    counts = np.histogram(first, 4, (0, 1000))[0]
    assert counts.min() > 30
    few = ImageSample(200)
    few.add([tf.range(5).numpy()])
    np.testing.assert_array_equal(few.images()[0], np.arange(5))
