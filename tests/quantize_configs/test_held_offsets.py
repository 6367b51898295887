"""Offsets of integer zero points, and zero points that noise cannot move."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from quantize_configs import BatchQuantizer
from quantize_configs.fake_quantization import code_limits
from quantize_configs.keras_backend import keras
from quantize_configs.range_estimation import grid_of_range

BITS = (2, 3, 4, 8)


class Quantized(keras.layers.Layer):
    """The input, quantized."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def build(self, input_shape):
        self.values = self.quantizer.build(input_shape, "input", self)

    def call(self, x, bits):
        return self.quantizer(x, True, self.values, bits=bits)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("zero_point", "learns"), [("integer", False), ("fractional", True)])
def test_only_fractional_zero_points_learn_an_offset(zero_point, learns, bits):
    layer = Quantized(BatchQuantizer(BITS, zero_point=zero_point))
    x = tf.constant(np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, tf.constant(bits)) * x)
    theta, beta = (layer.values[role] for role in ("theta", "beta"))
    of_theta, of_beta = tape.gradient(loss, [theta, beta])
    assert np.count_nonzero(tf.convert_to_tensor(of_theta)) == 1
    assert np.count_nonzero(tf.convert_to_tensor(of_beta)) == learns


def test_an_offset_learned_elsewhere_counts():
    layer = Quantized(BatchQuantizer((2, 3), estimator="min_max"))
    x = tf.constant([[-3.0, 0.0, 9.0]])
    before = layer(x, tf.constant(2)).numpy()
    layer.values["beta"].assign([1.0, 0.0])
    np.testing.assert_array_equal(before, [[-4.0, 0.0, 8.0]])
    np.testing.assert_array_equal(layer(x, tf.constant(2)), [[-4.0, 0.0, 4.0]])


@given(
    half=st.floats(1e-3, 1e3),
    noise=st.floats(-0.02, 0.02),
    bits=st.sampled_from(BITS),
    signed=st.booleans(),
)
@settings(deadline=None, max_examples=100)
def test_nearly_symmetric_ranges_share_a_zero_point(half, noise, bits, signed):
    if bits == 8:
        noise /= 100.0
    qmin, qmax = code_limits(bits, signed=signed)
    low, high = tf.constant(-half), tf.constant(half * (1.0 + noise))
    _, zero_point = grid_of_range(low, high, qmin, qmax)
    assert float(zero_point - qmin) == 2 ** (bits - 1)


def test_grids_that_end_with_their_range_have_the_nearest_zero_point():
    low, high = tf.constant(-1.0), tf.constant(1.08)  # 1.44 steps of two bits
    for factor_start, learned, expected in (
        ("range", True, 1.0),
        ("least_error", False, 1.0),
        ("least_error", True, 2.0),
    ):
        quantizer = BatchQuantizer(2, learned=learned, factor_start=factor_start)
        weights = {"theta": tf.zeros([1]), "beta": tf.zeros([1])}
        assert float(quantizer.grid(low, high, weights)[1]) == expected


@given(low=st.floats(0.0, 10.0), bits=st.sampled_from(BITS))
@settings(deadline=None, max_examples=100)
def test_other_ranges_have_the_nearest_zero_point(low, bits):
    """All but those between the two middle codes."""
    qmin, qmax = code_limits(bits, signed=False)
    arguments = (tf.constant(-low), tf.constant(1.0), qmin, qmax)
    (_, steady), (_, nearest) = grid_of_range(*arguments), grid_of_range(*arguments, nearest=True)
    middle = (2**bits - 1) / 2
    exact = low / (low + 1.0) * (2**bits - 1)
    if abs(exact - middle) < 0.49:
        assert steady == np.floor(middle) + (exact > middle - 0.25)
    elif abs(exact - middle) > 0.51:
        assert steady == nearest


@pytest.mark.parametrize("signed", [False, True])
def test_factors_start_at_the_least_error(signed):
    """The start leaves less error than the whole range, and no other factor much less."""
    x = tf.constant(np.random.default_rng(1).normal(size=(16384, 4)).astype(np.float32))
    for bits in (2, 3, 4):
        errors = {}
        for start in ("range", "least_error"):
            layer = Quantized(BatchQuantizer(BITS, signed=signed, factor_start=start))
            errors[start] = float(tf.reduce_mean(tf.square(layer(x, tf.constant(bits)) - x)))
        theta = layer.values["theta"]
        first = theta.numpy()
        others = []
        for shift in (-1.0, -0.5, 0.5, 1.0):
            theta.assign(first + shift)
            others.append(float(tf.reduce_mean(tf.square(layer(x, tf.constant(bits)) - x))))
        assert errors["least_error"] < 0.6 * errors["range"]
        assert errors["least_error"] < 1.1 * min(others)
    with pytest.raises(ValueError, match="factor_start must be one of"):
        BatchQuantizer(4, factor_start="median")
