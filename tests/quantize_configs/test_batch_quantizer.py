"""BatchQuantizer: its grids, its three ways to get a range, its parameters and its errors."""

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import BatchQuantizer
from quantize_configs.keras_backend import keras

BITS = (2, 3, 4, 8)


def activations(shape=(4, 5, 5, 3), seed=0, shift=0.4):
    values = np.random.default_rng(seed).normal(shift, 1.0, shape).astype(np.float32)
    values[..., 0] *= 3.0
    return tf.constant(values)


def built(quantizer, x, theta=0.0, beta=0.0):
    weights = quantizer.build(x.shape, "x", keras.layers.Layer())
    for role, value in (("theta", theta), ("beta", beta)):
        if role in weights:
            weights[role].assign(tf.fill(weights[role].shape, value))
    return weights


def numpy_range(x, estimator):
    axes = {"channel_mean": (0, 1, 2), "sample_mean": (1, 2, 3), "min_max": None}[estimator]
    return min(0.0, np.mean(x.min(axes))), max(0.0, np.mean(x.max(axes)))


@pytest.mark.parametrize("zero_point", ["integer", "fractional"])
@pytest.mark.parametrize("bits", BITS)
def test_signed_and_unsigned_codes_give_the_same_values(bits, zero_point):
    x = activations()
    outputs = []
    for signed in (False, True):
        quantizer = BatchQuantizer(bits, zero_point, signed=signed)
        outputs.append(quantizer(x, True, built(quantizer, x, theta=0.3, beta=0.2)))
    np.testing.assert_allclose(*outputs, atol=1e-5)
    assert len(np.unique(outputs[0])) > 2


@pytest.mark.parametrize("bits", BITS)
def test_integer_zero_point_keeps_zero_and_fractional_does_not(bits):
    x = tf.concat([activations(), tf.zeros((1, 5, 5, 3))], 0)
    outputs = {}
    for zero_point in ("integer", "fractional"):
        quantizer = BatchQuantizer(bits, zero_point)
        outputs[zero_point] = quantizer(x, True, built(quantizer, x, beta=0.37)).numpy()[-1]
    np.testing.assert_array_equal(outputs["integer"], 0.0)
    assert np.all(outputs["fractional"] != 0.0)


@pytest.mark.parametrize("bits", BITS)
def test_both_zero_points_are_equal_without_an_offset(bits):
    x, upstream = activations(shift=2.0), activations(seed=1)
    results = []
    for zero_point in ("integer", "fractional"):
        quantizer = BatchQuantizer(bits, zero_point)
        weights = built(quantizer, x, theta=-0.4)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = quantizer(x, True, weights)
        results.append((y, *tape.gradient(y, [x, weights["theta"]], upstream)))
    for integer, fractional in zip(*results, strict=True):
        np.testing.assert_allclose(integer, fractional, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("zero_point", ["integer", "fractional"])
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_constant_input(value, zero_point):
    x = tf.fill((2, 3, 3, 2), value)
    quantizer = BatchQuantizer(4, zero_point)
    weights = built(quantizer, x)
    with tf.GradientTape() as tape:
        y = quantizer(x, True, weights)
    np.testing.assert_allclose(y, x, rtol=1e-6)
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(y, weights["theta"]))).all()


def test_empty_range_gives_step_one_and_zero_point_zero():
    quantizer = BatchQuantizer(4, signed=True, learned=False)
    step, zero_point, qmin, qmax = quantizer.grid(tf.zeros([]), tf.zeros([]), {})
    assert (float(step), float(zero_point), float(qmin), float(qmax)) == (1, 0, -8, 7)


@pytest.mark.parametrize("shift", [0.4, 9.0, -9.0])
@pytest.mark.parametrize("estimator", ["channel_mean", "sample_mean", "min_max"])
def test_estimators(estimator, shift):
    x = activations(shift=shift)
    found = BatchQuantizer(4, estimator=estimator).batch_range(x)
    np.testing.assert_allclose(found, numpy_range(x.numpy(), estimator), rtol=1e-6)


def test_estimators_take_vectors():
    x = activations((6, 3))
    np.testing.assert_allclose(
        BatchQuantizer(4).batch_range(x),
        (min(0.0, x.numpy().min(0).mean()), x.numpy().max(0).mean()),
        rtol=1e-6,
    )


@pytest.mark.parametrize("banks", [1, 3])
def test_elastic_is_fixed_for_every_bit_width_and_bank(banks):
    x = activations()
    elastic = BatchQuantizer((2, 3, 4, 8, 32), banks=banks)
    weights = elastic.build_learned("x", keras.layers.Layer())
    generator = np.random.default_rng(2)
    for role in ("theta", "beta"):
        weights[role].assign(generator.normal(size=banks * len(BITS)).astype(np.float32))
    run = tf.function(lambda bits, bank: elastic(x, True, weights, bits=bits, bank=bank))
    for bank in range(banks):
        for index, bits in enumerate(BITS):
            chosen = {key: value[None, bank * len(BITS) + index] for key, value in weights.items()}
            expected = BatchQuantizer(bits)(x, True, chosen)
            np.testing.assert_array_equal(run(tf.constant(bits), tf.constant(bank)), expected)
        np.testing.assert_array_equal(run(tf.constant(32), tf.constant(bank)), x)
    assert run.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("traced", [False, True])
def test_three_modes(traced):
    quantizer = BatchQuantizer(4, estimator="min_max", learned=False)
    batches = [activations((size, 5, 5, 3), seed=size, shift=size - 3) for size in (2, 6, 4)]
    weights = built(quantizer, batches[0])

    def run(x, training):
        return quantizer(x, training, weights)

    if traced:
        run = tf.function(run, reduce_retracing=True)
    trained = [run(x, True) for x in batches]
    assert float(weights["samples"]) == 0.0
    assert float(weights["range_high"]) == 0.0

    weights["accumulating"].assign(True)
    for x, expected in zip(batches, trained, strict=True):
        np.testing.assert_array_equal(run(x, False), expected)  # the range of the batch
    weights["accumulating"].assign(False)
    ranges = [numpy_range(x.numpy(), "min_max") for x in batches]
    low, high = np.average(ranges, axis=0, weights=[2, 6, 4])
    assert float(weights["samples"]) == 12
    np.testing.assert_allclose(weights["range_low"], low, rtol=1e-6)
    np.testing.assert_allclose(weights["range_high"], high, rtol=1e-6)

    frozen = quantizer.quantize(batches[0], tf.constant(low), tf.constant(high), weights)
    np.testing.assert_array_equal(run(batches[0], False), frozen)
    assert not np.array_equal(frozen, trained[0])
    assert float(weights["samples"]) == 12


@pytest.mark.parametrize("traced", [False, True])
def test_frozen_call_before_calibration(traced):
    x = activations()
    quantizer = BatchQuantizer(4)
    weights = built(quantizer, x)
    run = tf.function(quantizer) if traced else quantizer
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"quantize_configs\.calibrate"):
        run(x, False, weights)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_bits": (8, 2, 32), "banks": 3},
        {"zero_point": "fractional", "estimator": "min_max", "signed": True, "learned": False},
    ],
)
def test_config_round_trip(options):
    quantizer = BatchQuantizer(**options)
    again = BatchQuantizer.from_config(quantizer.get_config())
    assert again == quantizer
    assert again.get_config() == quantizer.get_config()
    assert quantizer != BatchQuantizer(5)


def test_numpy_integers_are_bit_widths():
    assert BatchQuantizer(np.int64(4)) == BatchQuantizer(4)
    assert BatchQuantizer(np.array([4, 2])) == BatchQuantizer((2, 4))
    assert type(BatchQuantizer(np.int64(4)).get_config()["num_bits"]) is int


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bits": 1}, "num_bits must be .*Received: 1"),
        ({"num_bits": 9}, "num_bits"),
        ({"num_bits": 32}, "num_bits"),
        ({"num_bits": 4.0}, "num_bits"),
        ({"num_bits": "4"}, "num_bits must be .*Received: '4'"),
        ({"num_bits": ()}, "num_bits"),
        ({"num_bits": (2, 2)}, "num_bits"),
        ({"zero_point": "float"}, "zero_point must be one of .*Received: 'float'"),
        ({"estimator": "mean"}, "estimator must be one of .*Received: 'mean'"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        BatchQuantizer(**options)


def test_wrong_bits_of_a_call():
    x = activations()
    quantizer = BatchQuantizer((2, 4))
    weights = built(quantizer, x)
    with pytest.raises(ValueError, match=r"elastic quantizer of \[2, 4\] bits needs `bits`"):
        quantizer(x, True, weights)
    with pytest.raises(ValueError, match=r"bits must be one of \[2, 4\]. Received: 3"):
        quantizer(x, True, weights, bits=3)
