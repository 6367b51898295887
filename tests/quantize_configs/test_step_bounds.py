"""Steps of weight grids stay where the weights can use them."""

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import LSQQuantizer
from quantize_configs.bounds import StepsWithinWeights, fewest_steps
from quantize_configs.keras_backend import keras
from quantize_configs.quantizer_options import STARTS

BITS = (2, 3, 4, 8)
PULLS = (-1e6, 1e6)


class Quantized(keras.layers.Layer):
    """A kernel, quantized."""

    def __init__(self, kernel, **options):
        super().__init__()
        self.kernel = tf.Variable(kernel)
        self.quantizer = LSQQuantizer(BITS, **options)

    def build(self, input_shape):
        self.values = self.quantizer.build(self.kernel.shape, "kernel", self)

    def call(self, bits):
        return self.quantizer(self.kernel, True, self.values, bits=bits)


@pytest.fixture
def kernel():
    return np.random.default_rng(0).normal(0.0, 0.1, (3, 3, 8, 4)).astype(np.float32)


def pulled(layer, gradient):
    """The steps after an optimizer's step that wants to move them far away."""
    layer(tf.constant(2))
    step = layer.values["step"]
    keras.optimizers.SGD(1.0).apply_gradients([(tf.fill(step.shape, gradient), step)])
    return step.numpy()


@pytest.mark.parametrize("gradient", PULLS)
@pytest.mark.parametrize("channel_axes", [(), (-1,)], ids=["tensor", "channels"])
def test_steps_are_bounded_by_the_weights(kernel, gradient, channel_axes):
    layer = Quantized(kernel, channel_axes=channel_axes)
    steps = pulled(layer, gradient)
    assert (steps > 0).all()
    keep = bool(channel_axes)
    axes = (0, 1, 2) if keep else None
    mean = np.abs(kernel).mean(axes, keepdims=keep)
    largest = np.abs(kernel).max(axes, keepdims=keep)
    codes = [LSQQuantizer(bits).limits(bits)[1] for bits in BITS]
    bounds = [(mean / code, largest / fewest_steps(code)) for code in codes]
    # A gradient may pull a step below zero, so both pulls may end at either bound.
    for step, (low, high) in zip(steps, bounds, strict=True):
        assert (step >= low * (1 - 1e-6)).all()
        assert (step <= high * (1 + 1e-6)).all()


@pytest.mark.parametrize("gradient", PULLS)
@pytest.mark.parametrize("bits", BITS)
def test_weights_on_bounded_steps_are_not_all_zero(kernel, gradient, bits):
    layer = Quantized(kernel)
    pulled(layer, gradient)
    with tf.GradientTape() as tape:
        quantized = layer(tf.constant(bits))
    assert len(np.unique(quantized)) >= min(2**bits - 1, 5)
    assert np.count_nonzero(tape.gradient(quantized, layer.kernel)) > 0


@pytest.mark.parametrize("rule", STARTS)
def test_first_steps_of_drawn_weights_stay(kernel, rule):
    layer = Quantized(kernel, start_rule=rule)
    before = layer.quantizer.initial_steps(kernel)
    np.testing.assert_allclose(pulled(layer, 0.0), before, rtol=1e-6)


def test_steps_of_weights_that_are_zero_stay():
    bounds = StepsWithinWeights(lambda: (tf.constant([0.0, 1.0]), tf.constant([0.0, 2.0])), [1, 1])
    np.testing.assert_array_equal(bounds(tf.constant([0.25, -5.0])), [0.25, 2.0])


def test_stacked_steps_of_a_supernet_are_bounded_by_their_own_kernels(small_space):
    from qfa_tf import QFASupernet

    net = QFASupernet(small_space)
    step = net.precision.step
    before = step.numpy()
    keras.optimizers.SGD(1.0).apply_gradients([(tf.fill(step.shape, -1e6), step)])
    for site in small_space.sites:
        layer = net.site_layer(site.name)
        if layer.weight_quantizer is None:
            continue
        choices = layer.weight_quantizer.bit_widths.choices
        expected = [
            np.abs(kernel.numpy()).max() / fewest_steps(layer.weight_quantizer.limits(bits)[1])
            for kernel in layer.kernels()
            for bits in choices
        ]
        found = step.numpy()[net.precision.steps_of(site.name)]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (before != step.numpy()).all()


def test_steps_of_fractional_supernets_are_free(small_space):
    from qfa_tf import QFASupernet

    assert QFASupernet(small_space, zero_point="fractional").precision.step.constraint is None
