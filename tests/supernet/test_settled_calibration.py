"""Calibration measures normalization as the subnet will compute it."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet
from qfa_tf.layers import Mode
from qfa_tf.supernet import measuring
from quantize_configs.keras_backend import keras


@pytest.fixture(scope="module")
def net(small_space):
    keras.utils.set_random_seed(3)
    return QFASupernet(small_space)


@pytest.fixture(scope="module")
def batches(small_space):
    """Images with a background, which is one value in all of them."""
    rng = np.random.default_rng(0)
    size, channels = small_space.resolutions[-1], small_space.input_channels
    images = np.full((48, size, size, channels), -0.8, np.float32)
    images[:, 2:-2, 2:-2] = rng.normal(size=images[:, 2:-2, 2:-2].shape)
    return tf.split(tf.constant(images), 6)


def test_a_subnet_answers_as_it_was_calibrated(net, small_space, batches):
    """On the calibration images, frozen statistics are those of the pass that measured them."""
    arch = small_space.smallest(bits=2)
    calibration = net.calibrate(batches, arch)
    images, genome = tf.concat(batches, 0), net.as_genome(arch)
    frozen, _ = net.run_subnet(Mode.FROZEN, images, genome, calibration.statistics)
    settled, again = net.run_subnet(Mode.SETTLE, images, genome, calibration.statistics)
    # Two formulas for the normalization: on some processors a few codes flip.
    assert np.quantile(np.abs(frozen - settled), 0.8) < 1e-4
    assert np.quantile(np.abs(again - calibration.statistics), 0.9) < 1e-4
    assert calibration.images == 48


@pytest.mark.parametrize("most", [6, 30])
@pytest.mark.parametrize("form", [list, iter, tf.data.Dataset.from_tensor_slices])
def test_ranges_are_those_of_the_first_quarter(net, small_space, batches, form, most):
    """Of the batches that there are, 6 // 4 = 1, however many there may be."""
    arch = small_space.largest(bits=4)
    genome = net.as_genome(arch)
    found = net.calibrate(form(batches), arch, batches=most).statistics
    _, first = net.forward_of(Mode.CALIBRATE)(batches[0], genome)
    for name, entry in net.layout.entries.items():
        if name.endswith(".range"):
            np.testing.assert_allclose(found[entry.slice], first[entry.slice], rtol=1e-5)


def test_one_pass_where_nothing_settles(small_space, batches):
    """The paper's statistics are means over passes of the batches."""
    net = QFASupernet(small_space, zero_point="fractional")
    arch = small_space.smallest(bits=4)
    genome = net.as_genome(arch)
    measure = net.forward_of(Mode.CALIBRATE)
    vectors = [measure(one, genome)[1].numpy() for one in batches[:2]]
    expected = net.layout.combine(vectors, [8, 8], np.float32)
    found = net.calibrate(batches[:2], arch).statistics
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("most", "sizes"), [(100, [20]), (16, [16, 4]), (12, [8, 12]), (7, [8, 8, 4]), (1, [8, 8, 4])]
)
def test_batches_are_merged_whole(most, sizes):
    batches = [tf.range(8), tf.range(8, 16), tf.range(16, 20)]
    merged = list(measuring._merged(iter(batches), most))
    assert [len(one) for one in merged] == sizes
    np.testing.assert_array_equal(tf.concat(merged, 0), np.arange(20))
