"""Squeeze-excite and the activation functions against their formulas."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from qfa_tf import QFASupernet
from qfa_tf.layers import Mode, SqueezeExcite
from qfa_tf.layers.activations import ACTIVATIONS, hard_sigmoid, hard_swish

pytestmark = pytest.mark.xdist_group("v3_net")
BLOCKS = ("s0.b0", "s1.b0", "s1.b1")


def sigmoid_formula(x):
    return np.clip(x + 3, 0, 6) / 6


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64, tf.bfloat16])
def test_hard_functions(dtype):
    x = tf.constant(np.linspace(-8, 8, 65), dtype)  # quarters: exact in every dtype
    exact = x.numpy().astype(np.float64)
    tolerance = {tf.float32: 1e-6, tf.float64: 1e-15, tf.bfloat16: 1e-2}[dtype]
    for function, expected in (
        (hard_sigmoid, sigmoid_formula(exact)),
        (hard_swish, exact * sigmoid_formula(exact)),
    ):
        actual = function(x)
        assert actual.dtype == dtype
        actual = actual.numpy().astype(np.float64)
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(actual[exact <= -3], 0)


def test_hard_swish_is_the_identity_above_3():
    x = tf.constant([3.0, 3.5, 100.0])
    np.testing.assert_allclose(hard_swish(x), x, rtol=1e-6)
    np.testing.assert_allclose(hard_sigmoid(x), 1.0, rtol=1e-6)


def test_hard_swish_gradient():
    """0 below -3, (2x + 3) / 6 between, 1 above 3."""
    x = tf.constant([-9.0, -3.5, -2.5, -1.5, 0.0, 0.3, 2.9, 3.5, 20.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = hard_swish(x)
    expected = np.where(x < -3, 0, np.where(x > 3, 1, (2 * x.numpy() + 3) / 6))
    np.testing.assert_allclose(tape.gradient(y, x), expected, rtol=1e-5, atol=1e-6)


def test_activations_by_name():
    x = np.linspace(-8, 8, 33).astype(np.float32)
    expected = {
        "linear": x,
        "relu": np.maximum(x, 0),
        "relu6": np.clip(x, 0, 6),
        "hard_sigmoid": sigmoid_formula(x),
        "hard_swish": x * sigmoid_formula(x),
        "elu": np.where(x > 0, x, np.expm1(x)),
        "gelu": x * scipy.stats.norm.cdf(x),
        "selu": 1.05070098 * np.where(x > 0, x, 1.67326324 * np.expm1(x)),
        "sigmoid": scipy.special.expit(x),
        "swish": x * scipy.special.expit(x),
        "tanh": np.tanh(x),
    }
    assert set(ACTIVATIONS) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(ACTIVATIONS[name](x), values, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def net(v3_space):
    """A supernet whose squeeze-excites have large random weights and biases."""
    net = QFASupernet(v3_space)
    rng = np.random.default_rng(0)
    for name in BLOCKS:
        layer = net.layer(f"{name}.se")
        for weight in layer.weights:
            weight.assign(rng.normal(size=weight.shape, scale=1.5))
    return net


def genome_of(net, ratio):
    genome = net.space.encode(net.space.largest(bits=8))
    for block in BLOCKS[1:]:
        genome[net.space.gene_index[f"{block}.expand_ratio"]] = ratio
    return tf.constant(genome)


def formula(layer, x, squeeze_width):
    """Pool, reduce, expand, gate and scaled map in NumPy, for the first channels."""
    width = x.shape[-1]
    first, second = layer.reduce_kernel.numpy(), layer.expand_kernel.numpy()
    pool = x.mean((1, 2))
    reduce = pool @ first[:width, :squeeze_width] + layer.reduce_bias.numpy()[:squeeze_width]
    reduce = np.maximum(reduce, 0)
    expand = reduce @ second[:squeeze_width, :width] + layer.expand_bias.numpy()[:width]
    gate = sigmoid_formula(expand)
    return pool, reduce, expand, gate, x * gate[:, None, None]


@pytest.mark.parametrize("ratio", [2, 3])
def test_squeeze_excite_of_slices(ratio, net, monkeypatch):
    """Every squeeze-excite of a subnet, on the inputs that it meets there."""
    space, calls, call = net.space, [], SqueezeExcite.call

    def spy(layer, x, *args, **kwargs):
        y, recorded = call(layer, x, *args, **kwargs)
        calls.append((layer, x.numpy(), y.numpy(), recorded))
        return y, recorded

    monkeypatch.setattr(SqueezeExcite, "call", spy)
    images = tf.random.stateless_uniform([5, 16, 16, 1], [1, 2])
    _, statistics = net.run_subnet(Mode.CALIBRATE, images, genome_of(net, ratio))
    assert [layer for layer, *_ in calls] == [net.layer(f"{b}.se") for b in BLOCKS]
    gates = []
    for block, (layer, x, y, recorded) in zip(BLOCKS, calls, strict=True):
        stage, index = int(block[1]), int(block[4])
        assert x.shape[-1] == space.mid_width(stage, index, ratio if stage else 1)
        parts = formula(layer, x, space.squeeze_width(x.shape[-1]))
        np.testing.assert_allclose(y, parts[-1], rtol=1e-4, atol=1e-4)
        assert list(recorded) == ["pool", "reduce", "expand", "gate", "scale"]
        for name, values in zip(recorded, parts, strict=True):
            ends = net.layout.read(statistics, f"{block}.se.{name}")
            expected = [values.min(), values.max()]
            np.testing.assert_allclose(ends, expected, rtol=1e-4, atol=1e-4, err_msg=name)
        gates.append(parts[3].ravel())
    gates = np.concatenate(gates)
    assert np.mean(gates == 0) > 0.05
    assert np.mean(gates == 1) > 0.05
    assert np.mean((gates > 0) & (gates < 1)) > 0.05


def test_widths_of_slices_differ(v3_space):
    """Otherwise the tests of slices would not test any."""
    narrow, wide = (v3_space.mid_width(1, 1, ratio) for ratio in (2, 3))
    assert narrow < wide
    assert v3_space.squeeze_width(narrow) < v3_space.squeeze_width(wide)


def test_gradients_reach_the_active_slices_only(net):
    layer = net.layer("s1.b1.se")
    width = net.space.mid_width(1, 1, 2)
    squeeze = net.space.squeeze_width(width)
    images = tf.random.stateless_uniform([5, 16, 16, 1], [3, 4])
    weights = [layer.reduce_kernel, layer.reduce_bias, layer.expand_kernel, layer.expand_bias]
    with tf.GradientTape() as tape:
        logits, _ = net.run_subnet(Mode.TRAIN, images, genome_of(net, 2))
        loss = tf.reduce_sum(logits**2)
    gradients = tape.gradient(loss, weights)
    active = [np.s_[:width, :squeeze], np.s_[:squeeze], np.s_[:squeeze, :width], np.s_[:width]]
    for weight, gradient, place in zip(weights, gradients, active, strict=True):
        gradient = np.array(gradient)
        assert gradient[place].any(), weight.name
        gradient[place] = 0
        assert not gradient.any(), weight.name


def test_squeeze_excites_are_trained_and_decayed(net):
    decayed = {weight.ref() for weight in net.decayed_weights}
    trainable = {weight.ref() for weight in net.trainable_weights}
    for name in BLOCKS:
        layer = net.layer(f"{name}.se")
        assert {weight.ref() for weight in layer.weights} <= trainable
        assert {layer.reduce_kernel.ref(), layer.expand_kernel.ref()} <= decayed
        assert not {layer.reduce_bias.ref(), layer.expand_bias.ref()} & decayed
