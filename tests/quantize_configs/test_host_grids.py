"""Grids computed from numbers are those that the operations of a graph compute."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from quantize_configs.batch_quantizer import BatchQuantizer
from quantize_configs.fake_quantization import code_limits
from quantize_configs.range_estimation import grid_of_range, grid_of_stored_range

FLOATS = st.floats(0.0, 1e6, width=32)


@given(low=FLOATS, high=FLOATS, bits=st.integers(2, 8), signed=st.booleans(), nearest=st.booleans())
@settings(deadline=None, max_examples=300)
def test_grid_of_numbers(low, high, bits, signed, nearest):
    low, high = np.float32(-low), np.float32(high)
    qmin, qmax = code_limits(bits, signed=signed)
    expected = grid_of_range(tf.constant(low), tf.constant(high), qmin, qmax, nearest)
    actual = grid_of_stored_range(low, high, qmin.numpy(), qmax.numpy(), nearest)
    for number, tensor in zip(actual, expected, strict=True):
        assert number.dtype == np.float32
        assert number == tensor.numpy()


@pytest.mark.parametrize("bits", [*range(2, 9), 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("narrow_bits", [(), (8,), (2, 3)])
def test_code_limits_of_an_int(bits, signed, narrow_bits):
    actual = code_limits(bits, signed=signed, narrow_bits=narrow_bits)
    expected = code_limits(tf.constant(bits), signed=signed, narrow_bits=narrow_bits)
    assert [float(limit) for limit in actual] == [float(limit) for limit in expected]
    assert {limit.dtype for limit in actual} == {tf.float32}


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("num_bits", [2, 5, (3, 8)])
@pytest.mark.parametrize("factor_start", ["range", "least_error"])
def test_stored_grid_is_the_grid_of_the_stored_range(num_bits, signed, learned, factor_start):
    quantizer = BatchQuantizer(num_bits, signed=signed, learned=learned, factor_start=factor_start)
    rng = np.random.default_rng(0)
    bits = None if isinstance(num_bits, int) else 3
    count = len(quantizer.bit_widths.choices)
    for _ in range(50):
        low, high = -np.float32(rng.exponential()), np.float32(rng.exponential(4))
        weights = {
            "samples": tf.Variable(8.0),
            "range_low": tf.Variable(low),
            "range_high": tf.Variable(high),
            "theta": tf.Variable(rng.normal(0, 1, count).astype(np.float32)),
            "beta": tf.Variable(rng.normal(0, 2, count).astype(np.float32)),
        }
        expected = quantizer.grid(tf.constant(low), tf.constant(high), weights, bits)
        actual = quantizer.stored_grid(weights, bits)
        assert [float(value) for value in actual] == [float(value) for value in expected]
