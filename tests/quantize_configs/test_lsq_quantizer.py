"""LSQQuantizer: first steps, grids, gradients of the step, banks and float."""

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import LSQQuantizer
from quantize_configs.keras_backend import keras


def kernel(seed=0, shape=(3, 3, 4, 6)):
    return tf.Variable(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def built(quantizer, weight):
    layer = keras.layers.Layer()
    layer.kernel = weight
    return quantizer.build(weight.shape, "kernel", layer)


@pytest.mark.parametrize("signed", [True, False])
def test_first_steps(signed):
    weight = kernel()
    quantizer = LSQQuantizer((2, 4, 8), signed=signed, banks=2)
    tops = np.array([1, 7, 127] if signed else [3, 15, 255])
    expected = np.tile(2 * np.mean(np.abs(weight.numpy())) / np.sqrt(tops), 2)
    np.testing.assert_allclose(built(quantizer, weight)["step"], expected, rtol=1e-6)


def test_first_step_of_an_empty_kernel_is_positive():
    step = built(LSQQuantizer(4), tf.Variable(tf.zeros((3, 3))))["step"]
    assert float(step[0]) > 0.0


@pytest.mark.parametrize("narrow_bits", [(8,), ()])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_levels_and_bounds(bits, narrow_bits):
    weight = tf.Variable(tf.linspace(-50.0, 50.0, 4001))
    quantizer = LSQQuantizer(bits, narrow_bits=narrow_bits)
    variables = built(quantizer, weight)
    variables["step"].assign([0.25])
    codes = np.unique(quantizer(weight, True, variables)) / 0.25
    narrow = bits in narrow_bits
    np.testing.assert_array_equal(codes, np.arange(-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1)))
    np.testing.assert_array_equal(
        quantizer(weight, True, variables), quantizer(weight, False, variables)
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("elements", [None, 10])
def test_gradients(elements, sign):
    weight, upstream = kernel(), kernel(1).numpy()
    quantizer = LSQQuantizer(3)
    variables = built(quantizer, weight)
    step = 0.25
    variables["step"].assign([sign * step])
    weight.assign(tf.tensor_scatter_nd_update(weight, [[0, 0, 0, 0], [0, 0, 0, 1]], [-1.0, 0.75]))
    with tf.GradientTape() as tape:
        y = quantizer(weight, True, variables, elements=elements)
    to_weight, to_step = tape.gradient(y, [weight, variables["step"]], upstream)
    position = weight.numpy().astype(np.float64) / step
    inside = (position > -4) & (position < 3)  # LSQ passes nothing at the bounds themselves
    assert not inside[0, 0, 0, :2].any()
    np.testing.assert_array_equal(to_weight, upstream * inside)
    per_element = np.where(inside, np.rint(position) - position, np.clip(position, -4, 3))
    factor = sign / np.sqrt((elements or weight.numpy().size) * 3)
    expected = factor * np.sum(per_element * upstream)
    np.testing.assert_allclose(tf.convert_to_tensor(to_step)[0], expected, rtol=1e-4)


def test_elastic_is_fixed_for_every_bit_width_and_bank():
    weight = kernel()
    quantizer = LSQQuantizer((2, 3, 4, 32), banks=2)
    variables = built(quantizer, weight)
    variables["step"].assign(np.linspace(0.1, 0.6, 6, dtype=np.float32))
    run = tf.function(lambda bits, bank: quantizer(weight, True, variables, bits=bits, bank=bank))
    for bank in range(2):
        for index, bits in enumerate((2, 3, 4)):
            chosen = {"step": variables["step"][None, bank * 3 + index]}
            np.testing.assert_array_equal(
                run(tf.constant(bits), tf.constant(bank)),
                LSQQuantizer(bits)(weight, True, chosen),
            )


def test_32_bits_is_the_identity_for_values_and_gradients():
    weight, upstream = kernel(), kernel(1).numpy()
    quantizer = LSQQuantizer((4, 32))
    variables = built(quantizer, weight)
    with tf.GradientTape() as tape:
        y = quantizer(weight, True, variables, bits=tf.constant(32))
    to_weight, to_step = tape.gradient(y, [weight, variables["step"]], upstream)
    np.testing.assert_array_equal(y, weight)
    np.testing.assert_array_equal(to_weight, upstream)
    np.testing.assert_array_equal(to_step, [0.0])


def test_config_round_trip_and_wrong_bits():
    quantizer = LSQQuantizer((2, 4, 32), signed=False, narrow_bits=(), banks=3)
    assert LSQQuantizer.from_config(quantizer.get_config()) == quantizer
    assert quantizer != LSQQuantizer((2, 4, 32))
    with pytest.raises(ValueError, match="num_bits"):
        LSQQuantizer(0)
