"""Whole models through TFMOT: what gets which quantizer, training, calibration."""

import logging

import numpy as np
import pytest
import small_nets
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_scheme,
)

import quantize_configs
from quantize_configs import (
    BatchQuantizer,
    BitPolicy,
    BitWidthScheme,
    LayerQuantizeConfig,
    LSQQuantizer,
    calibrate,
    quantize,
    quantize_scope,
)
from quantize_configs.calibration import batch_quantizers
from quantize_configs.keras_backend import keras
from quantize_configs.model_quantization import check_wrappers
from quantize_configs.wrappers import WrappedModel

layers = keras.layers
PAPERS = {"estimator": "channel_mean", "weight_steps": "per_tensor", "weight_start": "lsq"}
annotate = tfmot.quantization.keras.quantize_annotate_layer


class Trained:
    """A quantized model with its weights before and after training."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        self.float_model = small_nets.functional()
        self.model = quantize(self.float_model, small_nets.POLICY, **PAPERS)
        self.before = {weight.name: weight.numpy() for weight in self.model.trainable_weights}
        self.losses = small_nets.compile_and_fit(self.model, epochs=9)
        self.after = {weight.name: weight.numpy() for weight in self.model.trainable_weights}
        self.wrapped = WrappedModel(self.model)
        dataset = tf.data.Dataset.from_tensor_slices(small_nets.task()).batch(48)
        self.images_used = calibrate(self.model, dataset)
        self.predicted = self.model.predict(small_nets.task()[0], verbose=0)


@pytest.fixture(scope="module")
def trained():
    """All that a user does, with the messages of TensorFlow's logger beside it."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    tf.get_logger().addHandler(handler)
    result = Trained()
    tf.get_logger().removeHandler(handler)
    result.messages = [record.getMessage() for record in records]
    return result


def test_every_linear_layer_has_the_quantizers_of_the_policy(trained):
    check_wrappers(trained.model)
    for name in small_nets.LINEAR:
        weight_bits, activation_bits = small_nets.POLICY.of(name)
        weight_quantizer = trained.wrapped.weight_quantizer(name)
        assert isinstance(weight_quantizer, LSQQuantizer)
        assert weight_quantizer.bit_widths.choices == (weight_bits,)
        (source,) = trained.wrapped.graph.by_name[name].inputs
        assert source == f"{name}.input"
        assert trained.wrapped.output_quantizer(source) == BatchQuantizer(activation_bits)


def test_8_bit_quantizers_where_no_single_linear_layer_reads(trained):
    others = [name for name in trained.wrapped.quantized_outputs() if not name.endswith(".input")]
    assert set(others) == {
        "conv_relu",
        "pointwise",
        "shortcut",
        "sum_relu",
        "hidden",
        "global_pool",
        "logits",
    }
    for name in others:
        quantizer = trained.wrapped.output_quantizer(name)
        assert quantizer == BatchQuantizer(8, estimator="min_max", learned=False)


def test_weights_have_few_levels(trained):
    trained.model(small_nets.task(4)[0], training=True)
    for name in small_nets.LINEAR:
        quantizer, weight = trained.wrapped.weight_quantizer(name), trained.wrapped.weight(name)
        quantized = quantizer(weight, False, trained.wrapped.weight_variables(name))
        assert 2 <= len(np.unique(quantized)) <= 2 ** small_nets.POLICY.of(name)[0]


def test_training_lowers_the_loss_and_moves_every_kind_of_parameter(trained):
    assert trained.losses[-1] < 0.5 * trained.losses[0]
    moved = {
        name: not np.array_equal(weight, trained.before[name])
        for name, weight in trained.after.items()
    }
    for kind in ("theta", "step", "kernel", "gamma"):
        names = [name for name in moved if kind in name]
        assert names
        assert all(moved[name] for name in names), kind
    offsets = [moved[name] for name in moved if "beta" in name and ".input" in name]
    assert offsets
    assert not any(offsets)  # zero points are integers


def test_training_leaves_the_stored_ranges(trained):
    model = quantized_sequential()
    model(small_nets.task(8)[0], training=True)
    variables = [weights for _, weights in batch_quantizers(model)]
    assert len(variables) == 3
    for weights in variables:
        assert {float(weights[role]) for role in ("samples", "range_low", "range_high")} == {0.0}


def test_no_autograph_warning(trained):
    assert not [message for message in trained.messages if "AutoGraph" in message]


def test_calibration_stores_the_range_of_the_data(trained):
    images, labels = small_nets.task()
    assert trained.images_used == 192
    variables = trained.wrapped.output_variables("conv.input")
    batches = images.reshape(4, -1, 2)
    np.testing.assert_allclose(variables["range_low"], batches.min(1).mean(), rtol=1e-5)
    np.testing.assert_allclose(variables["range_high"], batches.max(1).mean(), rtol=1e-5)
    for _, weights in batch_quantizers(trained.model):
        assert float(weights["samples"]) == 192
        assert not bool(weights["accumulating"])
    assert np.mean(trained.predicted.argmax(-1) == labels) > 0.9


@pytest.mark.parametrize("stored_before", [False, True])
def test_failing_data_leaves_the_ranges_as_they_were(stored_before):
    model = quantized_sequential()
    images, _ = small_nets.task(32)
    if stored_before:
        assert calibrate(model, [(images, None)] * 3, batches=2) == 64

    def failing():
        yield images * 2.0
        raise RuntimeError("disk gone")

    before = model.get_weights()
    with pytest.raises(RuntimeError, match="disk gone"):
        calibrate(model, failing())
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)
    with pytest.raises(ValueError, match="calibration data is empty"):
        calibrate(model, [])
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_calibrating_a_float_model():
    with pytest.raises(ValueError, match="no activation quantizer"):
        calibrate(small_nets.sequential(), [small_nets.task(4)[0]])


def test_predicting_before_calibration():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"quantize_configs\.calibrate"):
        quantized_sequential().predict(small_nets.task(4)[0], verbose=0)


def quantized_sequential(**options):
    keras.utils.set_random_seed(0)
    return quantize(small_nets.sequential(), BitPolicy((4, 4)), **options)


def test_steps_of_the_papers_by_choice():
    model = quantized_sequential(weight_steps="per_tensor", weight_start="lsq")
    wrapped = WrappedModel(model)
    expected = 2 * np.mean(np.abs(wrapped.weight("conv"))) / np.sqrt(7)
    np.testing.assert_allclose(wrapped.weight_variables("conv")["step"], [expected], rtol=1e-6)


def test_quantize_copies_weights_and_starts_steps_from_them():
    keras.utils.set_random_seed(0)
    float_model = small_nets.sequential()
    kernel = float_model.get_layer("conv").kernel
    kernel.assign(kernel * 7.0)
    before = float_model.get_weights()
    wrapped = WrappedModel(quantize(float_model, BitPolicy((4, 4))))
    np.testing.assert_array_equal(wrapped.weight("conv"), kernel)
    steps = wrapped.weight_variables("conv")["step"].numpy()
    assert steps.shape == (1, 1, 1, 1, kernel.shape[-1])
    largest = np.abs(kernel.numpy()).max((0, 1, 2)) / 7

    def error(steps):
        codes = np.clip(np.rint(kernel.numpy() / steps), -8, 7)
        return np.mean((codes * steps - kernel.numpy()) ** 2, (0, 1, 2))

    assert (error(steps[0]) <= error(largest)).all()
    assert (error(steps[0]) < error(1.2 * largest)).all()
    for value, old in zip(float_model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_options_reach_the_quantizers():
    model = quantized_sequential(
        zero_point="fractional", estimator="min_max", tensor_quantizers=False
    )
    quantizers = [quantizer for quantizer, _ in batch_quantizers(model)]
    assert quantizers == [BatchQuantizer(4, "fractional", "min_max")] * 2


def test_eight_bits_are_close_to_float():
    keras.utils.set_random_seed(0)
    float_model = small_nets.sequential()
    images, _ = small_nets.task(32)
    expected = float_model(images, training=True)
    close, coarse = (
        quantize(float_model, BitPolicy((bits, bits)), estimator="min_max")(images, training=True)
        for bits in (8, 2)
    )
    scale = np.max(np.abs(expected))
    assert np.max(np.abs(close - expected)) < 0.1 * scale
    assert np.max(np.abs(coarse - expected)) > 0.1 * scale


def test_users_own_annotations_give_the_same_model():
    keras.utils.set_random_seed(0)
    float_model = small_nets.sequential()
    ours = quantize(float_model, BitPolicy((3, 4)), tensor_quantizers=False, **PAPERS)

    def reading(name, layer, x):
        identity = layers.Activation("linear", name=f"{name}.input")
        x = annotate(identity, LayerQuantizeConfig(output_quantizer=BatchQuantizer(4)))(x)
        return annotate(layer, LayerQuantizeConfig(LSQQuantizer(3)))(x)

    images = keras.Input((8, 8, 2))
    x = reading("conv", layers.Conv2D(4, 3, name="conv"), images)
    x = annotate(layers.BatchNormalization(name="conv_bn"), LayerQuantizeConfig())(x)
    x = annotate(layers.ReLU(name="relu"), LayerQuantizeConfig())(x)
    x = annotate(layers.Flatten(name="flatten"), LayerQuantizeConfig())(x)
    annotated = keras.Model(images, reading("logits", layers.Dense(3, name="logits"), x))
    with quantize_scope():
        theirs = tfmot.quantization.keras.quantize_apply(annotated, BitWidthScheme())
    check_wrappers(theirs)
    assert [layer.name for layer in theirs.layers[1:]] == [layer.name for layer in ours.layers[1:]]
    theirs.set_weights(ours.get_weights())
    batch, _ = small_nets.task(16)
    np.testing.assert_array_equal(theirs(batch, training=True), ours(batch, training=True))


def test_layers_annotated_without_a_config_get_8_bit_weights():
    annotated = keras.Sequential(
        [keras.Input((8, 8, 2)), annotate(layers.Conv2D(2, 3)), annotate(layers.Flatten())]
    )
    with quantize_scope():
        model = tfmot.quantization.keras.quantize_apply(annotated, BitWidthScheme())
    configs = [layer.quantize_config for layer in model.layers]
    assert configs == [LayerQuantizeConfig(LSQQuantizer(8)), LayerQuantizeConfig()]


def test_our_scheme_keeps_configs_that_tfmot_drops():
    """TFMOT's scheme gives a convolution before a ReLU a configuration that does nothing."""
    config = LayerQuantizeConfig(LSQQuantizer(4))
    images = keras.Input((8, 8, 2))
    x = annotate(layers.Conv2D(4, 3, name="conv"), config)(images)
    annotated = keras.Model(images, annotate(layers.ReLU(), LayerQuantizeConfig())(x))
    with quantize_scope():
        ours, theirs = (
            tfmot.quantization.keras.quantize_apply(annotated, scheme())
            for scheme in (BitWidthScheme, default_8bit_quantize_scheme.Default8BitQuantizeScheme)
        )
    assert ours.get_layer("quant_conv").quantize_config == config
    assert theirs.get_layer("quant_conv").quantize_config != config


def test_a_lost_weight_quantizer_is_found_out():
    images = keras.Input((8, 8, 2))
    x = annotate(layers.Conv2D(4, 3, name="conv"), LayerQuantizeConfig())(images)
    with quantize_scope():
        model = tfmot.quantization.keras.quantize_apply(keras.Model(images, x), BitWidthScheme())
    with pytest.raises(RuntimeError, match=r"'conv' came out .*BitWidthScheme"):
        check_wrappers(model)


@pytest.mark.parametrize(
    "config",
    [
        LayerQuantizeConfig(),
        LayerQuantizeConfig(LSQQuantizer(3), BatchQuantizer(4, "fractional")),
        LayerQuantizeConfig(output_quantizer=BatchQuantizer((2, 8), learned=False)),
    ],
)
def test_layer_config_round_trip(config):
    again = LayerQuantizeConfig.from_config(config.get_config())
    assert again == config
    assert again != LayerQuantizeConfig(LSQQuantizer(7))


def test_model_config_round_trip(trained):
    with quantize_scope():
        again = keras.Model.from_config(trained.model.get_config())
    pairs = zip(again.layers[1:], trained.model.layers[1:], strict=True)
    assert all(one.quantize_config == other.quantize_config for one, other in pairs)


def test_public_names():
    for name in quantize_configs.__all__:
        assert getattr(quantize_configs, name).__name__ == name
    assert {"prepare_for_deployment", "UncalibratedError"} <= set(quantize_configs.__all__)
