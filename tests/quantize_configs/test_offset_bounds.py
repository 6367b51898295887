"""Offsets of integer zero points stay where a range still reaches several codes."""

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import BatchQuantizer
from quantize_configs.batch_quantizer import OFFSET_SHARE
from quantize_configs.bounds import WithinBounds, bounds_of
from quantize_configs.keras_backend import keras

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


def pulled(zero_point, direction, banks=1):
    """beta after a step that wants to move every range out of sight."""
    layer = Quantized(BatchQuantizer(BITS, zero_point=zero_point, banks=banks))
    layer(tf.zeros([1, 2]), tf.constant(2))
    optimizer = keras.optimizers.SGD(1.0)
    beta = layer.values["beta"]
    optimizer.apply_gradients([(tf.fill(beta.shape, -1000.0 * direction), beta)])
    return layer, beta.numpy()


@pytest.mark.parametrize("direction", [-1.0, 1.0])
def test_integer_offsets_are_bounded(direction):
    _, beta = pulled("integer", direction, banks=2)
    steps = np.array([2**bits - 1 for bits in BITS] * 2, np.float32)
    np.testing.assert_array_equal(beta, direction * OFFSET_SHARE * steps)


def test_fractional_offsets_are_those_of_the_paper():
    _, beta = pulled("fractional", 1.0)
    np.testing.assert_array_equal(beta, np.full(len(BITS), 1000.0))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("direction", [-1.0, 1.0])
def test_a_range_at_its_bound_is_not_constant(bits, direction):
    """So that gradients come back, and with them the range."""
    layer, _ = pulled("integer", direction)
    x = tf.constant(np.random.default_rng(0).uniform(-0.4, 5.0, (64, 8)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, tf.constant(bits))
    assert len(np.unique(y)) > 1
    assert np.count_nonzero(tape.gradient(y, x)) > 0


def test_stacked_offsets_of_a_supernet_are_bounded(small_space):
    from qfa_tf import QFASupernet

    net = QFASupernet(small_space)
    constraint = net.precision.beta.constraint
    assert isinstance(constraint, WithinBounds)
    assert set(constraint.bounds) == {OFFSET_SHARE * (2**bits - 1) for bits in BITS}
    fractional = QFASupernet(small_space, zero_point="fractional")
    assert fractional.precision.beta.constraint is None
    assert net.precision.theta.constraint is None


def test_bounds_are_serialized():
    bounds = bounds_of(0.5, np.array([[0.0, 3.0], [-8.0, 7.0]], np.float32))
    again = WithinBounds(**bounds.get_config())
    np.testing.assert_array_equal(again.bounds, [1.5, 7.5])
    np.testing.assert_array_equal(again(tf.constant([9.0, -9.0])), [1.5, -7.5])
    assert bounds_of(None, np.zeros((2, 2))) is None
