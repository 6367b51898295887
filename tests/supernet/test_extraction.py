"""An extracted subnet computes what the supernet computes for it."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf.layers import Mode
from qfa_tf.layers.execution import resize

pytestmark = pytest.mark.xdist_group("trained_net")


@pytest.mark.parametrize("seed", range(6))
def test_equal_without_deployment_grids(
    seed, trained_net, small_space, small_digits, calibration_batches, float64_layers
):
    arch = small_space.sample(np.random.default_rng(seed))
    calibration = trained_net.calibrate(calibration_batches, arch)
    images = tf.constant(small_digits.test.read_images()[:24], tf.float64)
    expected, _ = trained_net.run_subnet(
        Mode.FROZEN, images, trained_net.as_genome(arch), calibration.statistics
    )
    model = trained_net.extract(arch, calibration, deployment_grids=False)
    actual = model(resize(images, arch.resolution), training=False)
    assert actual.dtype == tf.float64
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


def test_close_with_deployment_grids(trained_net, small_space, small_digits, calibration_batches):
    arch = small_space.largest(bits=8)
    calibration = trained_net.calibrate(calibration_batches, arch)
    images = tf.constant(small_digits.test.read_images())
    supernet = trained_net(images, genome=arch, calibration=calibration)
    model = trained_net.extract(arch, calibration)
    subnet = model.predict(resize(images, arch.resolution), verbose=0)
    spread = np.std(supernet)
    assert np.mean(np.abs(subnet - supernet)) < 0.05 * spread
    assert np.mean(np.argmax(subnet, -1) == np.argmax(supernet, -1)) > 0.98


def test_extraction_does_not_share_weights(trained_net, small_space, calibration_batches):
    arch = small_space.smallest(bits=4)
    model = trained_net.extract(arch, trained_net.calibrate(calibration_batches, arch, 1))
    before = [weight.numpy() for weight in trained_net.weights]
    for weight in model.weights:
        weight.assign(tf.zeros_like(weight))
    for old, weight in zip(before, trained_net.weights, strict=True):
        np.testing.assert_array_equal(old, weight.numpy())
