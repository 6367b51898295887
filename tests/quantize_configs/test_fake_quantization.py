"""The fake-quantization core against an independent NumPy implementation."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from quantize_configs.fake_quantization import (
    code_limits,
    fake_quantize,
    round_straight_through,
    scale_gradient,
)

STEP = 0.25  # a power of two, so that positions on a bound are exact
GRIDS = {
    "unsigned 2": (0.0, 0.0, 3.0),
    "unsigned 3, integer zero point": (3.0, 0.0, 7.0),
    "unsigned 4, fractional zero point": (5.25, 0.0, 15.0),
    "signed 2": (0.0, -2.0, 1.0),
    "signed 4, zero point": (-3.0, -8.0, 7.0),
    "narrow 3": (0.0, -3.0, 3.0),
}


def reference(x, step, zero_point, qmin, qmax, pass_at_bounds, upstream):
    """(x_hat, gradients of x, step and zero point) in float64, element by element."""
    position = x / step + zero_point
    x_hat = (np.rint(np.clip(position, qmin, qmax)) - zero_point) * step
    inside = (qmin < position) & (position < qmax)
    if pass_at_bounds:
        inside |= (position == qmin) | (position == qmax)
    to_step = np.where(inside, (x_hat - x) / step, x_hat / step)
    return x_hat, upstream * inside, upstream * to_step, upstream * np.where(inside, 0.0, -step)


def quantized_with_gradients(x, step, zero_point, limits, upstream, **options):
    x, step, zero_point, *limits = (
        tf.constant(value, tf.float32) for value in (x, step, zero_point, *limits)
    )
    with tf.GradientTape() as tape:
        tape.watch([x, step, zero_point])
        x_hat = fake_quantize(x, step, zero_point, *limits, **options)
    return x_hat, *tape.gradient(x_hat, [x, step, zero_point], tf.constant(upstream, tf.float32))


@pytest.mark.parametrize("pass_at_bounds", [True, False])
@pytest.mark.parametrize("grid", GRIDS)
def test_values_and_gradients_with_ties_and_bounds(grid, pass_at_bounds):
    zero_point, *limits = GRIDS[grid]
    x = np.arange(-80, 81) * STEP / 4  # every bound and every tie of all these grids
    upstream = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    expected = reference(x, STEP, zero_point, *limits, pass_at_bounds, upstream)
    found = quantized_with_gradients(
        x, STEP, zero_point, limits, upstream, pass_at_bounds=pass_at_bounds
    )
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[2], expected[2].sum(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[3], expected[3].sum(), rtol=1e-5, atol=1e-5)


def test_step_per_channel_collects_the_gradient_of_its_channel():
    generator = np.random.default_rng(1)
    x, upstream = generator.normal(size=(2, 4, 5, 3)), generator.normal(size=(2, 4, 5, 3))
    x, upstream = x.astype(np.float32), upstream.astype(np.float32)
    steps = np.array([0.125, 0.25, 0.5])
    _, _, to_step, to_zero_point = quantized_with_gradients(x, steps, 0.0, (-2, 1), upstream)
    _, _, expected, expected_zero = reference(x, steps, 0.0, -2, 1, True, upstream)
    np.testing.assert_allclose(to_step, expected.sum((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(to_zero_point, expected_zero.sum(), rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40),
    step=st.floats(2**-10, 8, width=32),
    bits=st.integers(2, 8),
    signed=st.booleans(),
    offset=st.integers(0, 255),
)
def test_few_levels_within_half_a_step_and_idempotent(values, step, bits, signed, offset):
    qmin, qmax = code_limits(bits, signed=signed)
    zero_point = qmin + offset % 2**bits
    x = tf.constant(values, tf.float32)
    once = fake_quantize(x, tf.constant(step), zero_point, qmin, qmax)
    assert len(np.unique(once)) <= 2**bits
    reachable = tf.clip_by_value(x, (qmin - zero_point) * step, (qmax - zero_point) * step)
    assert np.max(np.abs(once - reachable)) <= step * 0.50001
    np.testing.assert_array_equal(
        fake_quantize(once, tf.constant(step), zero_point, qmin, qmax), once
    )


@pytest.mark.parametrize("enabled", [True, False])
def test_enabled_switches_between_grid_and_identity(enabled):
    x = np.linspace(-3, 3, 21)
    arguments = (x, STEP, 1.0, (0.0, 3.0), np.ones_like(x))
    found = quantized_with_gradients(*arguments, enabled=tf.constant(enabled))
    if enabled:
        plain = quantized_with_gradients(*arguments)
        for value, expected in zip(found, plain, strict=True):
            np.testing.assert_array_equal(value, expected)
    else:
        np.testing.assert_array_equal(found[0], np.float32(x))
        np.testing.assert_array_equal(found[1], np.ones_like(x))
        assert (float(found[2]), float(found[3])) == (0.0, 0.0)


@pytest.mark.parametrize("dtype", [tf.float64, tf.float16, tf.bfloat16])
def test_other_dtypes_are_computed_in_float32(dtype):
    # In float16 the step would be 0 and the positions infinite.
    x = tf.cast(tf.linspace(-2e-5, 2e-5, 31), dtype)
    step, zero_point, qmin, qmax = (tf.constant(value) for value in (1e-8, 100.0, 0.0, 255.0))
    with tf.GradientTape() as tape:
        tape.watch([x, step])
        x_hat = fake_quantize(x, step, zero_point, qmin, qmax)
    to_x, to_step = tape.gradient(x_hat, [x, step])
    assert (x_hat.dtype, to_x.dtype, to_step.dtype) == (dtype, dtype, tf.float32)
    expected = fake_quantize(tf.cast(x, tf.float32), step, zero_point, qmin, qmax)
    np.testing.assert_array_equal(x_hat, tf.cast(expected, dtype))
    assert np.isfinite(to_step)


@pytest.mark.parametrize(
    ("bits", "signed", "narrow_bits", "expected"),
    [
        (1, False, (), (0, 1)),
        (2, True, (8,), (-2, 1)),
        (8, True, (8,), (-127, 127)),
        (8, True, (), (-128, 127)),
        (8, False, (8,), (0, 255)),
        (16, True, (), (-32768, 32767)),
    ],
)
def test_code_limits(bits, signed, narrow_bits, expected):
    limits = code_limits(tf.constant(bits), signed=signed, narrow_bits=narrow_bits)
    assert tuple(map(float, limits)) == expected


def test_helpers_change_only_the_gradient():
    x = tf.constant([-1.5, -0.5, 0.5, 1.4])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        rounded, scaled = round_straight_through(x), scale_gradient(x, tf.constant(0.25))
    np.testing.assert_array_equal(rounded, [-2, 0, 0, 1])
    np.testing.assert_array_equal(tape.gradient(rounded, x), np.ones(4))
    np.testing.assert_array_equal(scaled, x)
    np.testing.assert_array_equal(tape.gradient(scaled, x), np.full(4, 0.25))
