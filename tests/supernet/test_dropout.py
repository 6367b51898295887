"""Dropout of the classifier's inputs: in training only, and decided by its seed."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet
from qfa_tf.layers import Mode

pytestmark = pytest.mark.xdist_group("v3_net")
RATE = 0.999


@pytest.fixture(scope="module")
def net(v3_space):
    """A net that drops almost everything, with biases in the classifier."""
    net = QFASupernet(v3_space, dropout=RATE)
    net.site_layer("classifier").bias.assign(tf.range(10.0))
    return net


@pytest.fixture(scope="module")
def images():
    return tf.random.stateless_uniform([16, 16, 16, 1], [1, 2])


def logits_of(net, images, mode=Mode.TRAIN, **options):
    genome = net.as_genome(net.space.largest(bits=8))
    return net.run_subnet(mode, images, genome, **options)[0].numpy()


def seed(*values):
    return tf.constant(values, tf.int64)


def test_only_with_a_seed(net, images):
    plain = QFASupernet(net.space, dropout=0.0)
    plain.set_weights(net.get_weights())
    expected = logits_of(plain, images)
    np.testing.assert_array_equal(logits_of(net, images), expected)
    np.testing.assert_array_equal(logits_of(net, images, Mode.CALIBRATE), expected)
    np.testing.assert_array_equal(logits_of(plain, images, dropout_seed=seed(0, 1)), expected)
    assert (logits_of(net, images, dropout_seed=seed(0, 1)) != expected).any()


def test_dropped_inputs_leave_the_bias(net, images):
    logits = logits_of(net, images, dropout_seed=seed(3, 4))
    only_bias = np.isclose(logits, np.arange(10.0), atol=1e-6).all(1)
    width = net.space.head.mix_width
    assert np.mean(only_bias) >= RATE**width - 0.25
    assert not np.isclose(logits_of(net, images), np.arange(10.0), atol=1e-6).all(1).any()


def test_the_seed_decides(net, images):
    net = QFASupernet(net.space, dropout=0.3)
    first, again, other, another = (
        logits_of(net, images, dropout_seed=seed(*values))
        for values in ((5, 6), (5, 6), (5, 7), (4, 6))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != another).any()


def test_kept_inputs_are_scaled_up(v3_float_net):
    """Over many copies of an image, the mean of the logits is that without dropout."""
    net = QFASupernet(v3_float_net.space, dropout=0.5)
    image = tf.random.stateless_uniform([1, 16, 16, 1], [3, 4])
    copies = tf.tile(image, [1000, 1, 1, 1])
    expected = logits_of(net, copies)
    dropped = logits_of(net, copies, dropout_seed=seed(0, 0))
    deviation = np.std(dropped, 0)
    assert deviation.min() > 0.05 * np.abs(expected).max()
    assert np.all(np.abs(np.mean(dropped, 0) - expected[0]) < 5 * deviation / np.sqrt(1000))


def test_in_the_training_step(v3_net, v3_space, small_digits):
    images = tf.constant(small_digits.train.read_images()[:16])
    labels = tf.constant(small_digits.train.labels[:16], tf.int32)
    genome = v3_net.as_genome(v3_space.largest(bits=4))
    method = v3_net.training_method

    def loss(*values):
        return float(
            method.subnet_gradients(
                images, labels, genome, tf.zeros([16, 10]), tf.zeros([]), seed(*values)
            )[0]
        )

    assert loss(1, 2) == loss(1, 2) != loss(1, 3)
    step = [method.dropout_seed(number, row, 0).numpy() for number in (0, 1) for row in (0, 1)]
    assert len({tuple(value) for value in step}) == 4
