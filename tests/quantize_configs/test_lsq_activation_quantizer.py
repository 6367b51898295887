"""LSQ, LSQ+ and PACT for activations: values, gradients, first values, and life in a model."""

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import BitPolicy, LSQActivationQuantizer, load_model, quantize, save_model
from quantize_configs.fake_quantization import code_limits
from quantize_configs.keras_backend import keras
from quantize_configs.wrappers import WrappedModel

VALUES = np.array([[-1.0, -0.3, 0.0, 0.26, 0.7, 2.0]], np.float32)
UPSTREAM = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], np.float32)


def run(quantizer, step, low=0.0):
    """x_hat, and the gradients of sum(upstream * x_hat) to x, step and low."""
    x, step, low = (tf.constant(value, tf.float32) for value in (VALUES, step, low))
    limits = code_limits(quantizer.bit_widths.choices[0], signed=quantizer.signed)
    with tf.GradientTape() as tape:
        tape.watch([x, step, low])
        x_hat = quantizer.quantize_on(x, (step, low, *limits))
        loss = tf.reduce_sum(x_hat * UPSTREAM)
    gradients = tape.gradient(loss, [x, step, low], unconnected_gradients="zero")
    return [value.numpy() for value in (x_hat, *gradients)]


def test_unsigned():
    """2 bits, step 0.25: codes 0 to 3."""
    x_hat, to_x, to_step, _ = run(LSQActivationQuantizer(2), 0.25)
    np.testing.assert_allclose(x_hat, [[0, 0, 0, 0.25, 0.75, 0.75]])
    np.testing.assert_array_equal(to_x, UPSTREAM * [[0, 0, 0, 1, 1, 0]])
    # round(v) - v inside, qmax above; 6 features of one sample.
    expected = 4 * (1 - 0.26 / 0.25) + 5 * (3 - 2.8) + 6 * 3
    assert to_step == pytest.approx(expected / np.sqrt(6 * 3), rel=1e-4)


def test_signed():
    """2 bits, step 0.25: codes -2 to 1. A negative step counts as its absolute value."""
    x_hat, to_x, to_step, _ = run(LSQActivationQuantizer(2, "signed"), -0.25)
    np.testing.assert_allclose(x_hat, [[-0.5, -0.25, 0, 0.25, 0.25, 0.25]])
    np.testing.assert_array_equal(to_x, UPSTREAM * [[0, 1, 1, 0, 0, 0]])
    expected = 1 * -2 + 2 * (-1 + 1.2) + 4 * 1 + 5 * 1 + 6 * 1
    assert to_step == pytest.approx(-expected / np.sqrt(6 * 1), rel=1e-4)


def test_offset():
    """LSQ+: 2 bits, step 0.25 and zero point 1; codes 0 to 3 stand for -0.25 to 0.5."""
    x_hat, to_x, to_step, to_low = run(LSQActivationQuantizer(2, "offset"), 0.25, -0.3)
    np.testing.assert_allclose(x_hat, [[-0.25, -0.25, 0, 0.25, 0.5, 0.5]])
    np.testing.assert_array_equal(to_x, UPSTREAM * [[0, 0, 1, 1, 0, 0]])
    clipped = 1 + 2 + 5 + 6
    factor = 1 / np.sqrt(6 * 3)
    assert to_low == pytest.approx(clipped * factor, rel=1e-4)
    # x_hat / s outside and (x_hat - x) / s inside; and the zero point follows the step.
    direct = 1 * -1 + 2 * -1 + 3 * 0 + 4 * (1 - 1.04) + 5 * 2 + 6 * 2
    through_zero_point = clipped * 0.3 / 0.25
    assert to_step == pytest.approx((direct + through_zero_point) * factor, rel=1e-4)


def test_pact():
    """Only values above alpha = 3 step move it: d alpha = 1 for each, d step = d alpha / 3."""
    x_hat, to_x, to_step, _ = run(LSQActivationQuantizer(2, rule="pact"), 0.25)
    np.testing.assert_allclose(x_hat, [[0, 0, 0, 0.25, 0.75, 0.75]])
    np.testing.assert_array_equal(to_x[0, [0, 1, 3, 4, 5]], [0, 0, 4, 5, 0])
    assert to_step == pytest.approx(6 * 3 / 9)


def test_first_values():
    values = np.random.default_rng(0).normal(size=(20, 50)).astype(np.float32)
    mean = np.abs(values).mean()
    steps, lows = LSQActivationQuantizer((2, 4)).initial_values(values)
    np.testing.assert_allclose(steps, 2 * mean / np.sqrt([3, 15]), rtol=1e-6)
    assert not lows.any()
    steps, _ = LSQActivationQuantizer(4, "signed").initial_values(values)
    np.testing.assert_allclose(steps, 2 * mean / np.sqrt([7]), rtol=1e-6)
    steps, _ = LSQActivationQuantizer(4, rule="pact").initial_values(values)
    np.testing.assert_allclose(steps, [values.max() / 15], rtol=1e-6)
    quantizer = LSQActivationQuantizer(3, "offset")
    (step,), (low,) = quantizer.initial_values(values + 0.5)

    def error(step, low):
        limits = code_limits(3, signed=False)
        learned = tf.constant(step, tf.float32), tf.constant(low, tf.float32), *limits
        x_hat = quantizer.quantize_on(tf.constant(values + 0.5), learned)
        return float(tf.reduce_mean((x_hat - values - 0.5) ** 2))

    assert error(step, low) < min(error(1.5 * step, 1.5 * low), error(step / 1.5, low / 1.5))
    assert LSQActivationQuantizer(4).initial_values(np.zeros((2, 3)))[0] > 0


def test_wrong_arguments():
    with pytest.raises(ValueError, match="grid must be one of"):
        LSQActivationQuantizer(4, "symmetric")
    with pytest.raises(ValueError, match="rule must be one of"):
        LSQActivationQuantizer(4, rule="dorefa")


def test_in_a_model(tmp_path):
    """The first batch of a training starts the grid, training moves it, files keep it."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(2, name="dense")(inputs)
    quantizer = LSQActivationQuantizer(4, "offset")
    model = quantize(
        keras.Model(inputs, outputs),
        BitPolicy(default=(4, 4)),
        tensor_quantizers=False,
        input_quantizers={"dense": quantizer},
    )
    x = np.random.default_rng(1).normal(size=(32, 6)).astype(np.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="has no step yet"):
        model(x, training=False)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, np.zeros((32, 2)), batch_size=32, verbose=0)
    step = WrappedModel(model).output_variables("dense.input")["step"]
    expected, _ = quantizer.initial_values(x)
    np.testing.assert_allclose(step, expected, rtol=1e-5)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, np.ones((32, 2)), batch_size=32, verbose=0)
    assert float(step[0]) != expected[0]
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    np.testing.assert_array_equal(again(x, training=False), model(x, training=False))
