"""Extracted subnets with squeeze-excite and hard-swish compute what the supernet computes."""

import numpy as np
import pytest
import tensorflow as tf
from exported_file import exported

from qfa_tf import QFASupernet
from qfa_tf.cost import CostModel
from qfa_tf.layers import Mode
from qfa_tf.layers.execution import resize
from quantize_configs.wrappers import WrappedModel

pytestmark = pytest.mark.xdist_group("v3_net")


@pytest.fixture(scope="module")
def same_net(v3_net, v3_space):
    """The trained weights with the other padding."""
    net = QFASupernet(v3_space)
    assert (net.padding, v3_net.padding) == ("same", "symmetric")
    net.set_weights(v3_net.get_weights())
    return net


def check_equality(net, seed, images, calibrate_once):
    arch = net.space.sample(np.random.default_rng(seed))
    calibration = calibrate_once(net, arch, tf.constant(images[:64]))
    images = tf.constant(images[-24:], tf.float64)
    genome = net.as_genome(arch)
    expected, _ = net.run_subnet(Mode.FROZEN, images, genome, calibration.statistics)
    model = net.extract(arch, calibration, deployment_grids=False)
    actual = model(resize(images, arch.resolution), training=False)
    assert actual.dtype == tf.float64
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
    assert np.std(actual, 0).min() > 0.01
    return model


def padded_sites(model):
    names = [call.name for call in WrappedModel(model).graph.calls]
    return [name.removesuffix(".padding") for name in names if name.endswith(".padding")]


@pytest.mark.parametrize("seed", range(4))
def test_equal_without_deployment_grids(seed, v3_net, small_digits, calibrate_once, float64_layers):
    model = check_equality(v3_net, seed, small_digits.train.read_images(), calibrate_once)
    assert padded_sites(model) == ["stem", "s1.b0.depthwise"]


@pytest.mark.parametrize("seed", range(2))
def test_equal_with_same_padding(seed, same_net, small_digits, calibrate_once, float64_layers):
    model = check_equality(same_net, seed, small_digits.train.read_images(), calibrate_once)
    assert padded_sites(model) == []


def test_close_with_deployment_grids(v3_net, v3_space, small_digits, calibrate_once):
    arch = v3_space.largest(bits=8)
    calibration = calibrate_once(
        v3_net, arch, tf.constant(small_digits.calibration.read_images()[:256])
    )
    images = tf.constant(small_digits.test.read_images())
    genome = v3_net.as_genome(arch)
    supernet, _ = v3_net.run_subnet(Mode.FROZEN, images, genome, calibration.statistics)
    subnet = v3_net.extract(arch, calibration)(resize(images, arch.resolution), training=False)
    assert np.mean(np.abs(subnet - supernet)) < 0.05 * np.std(supernet)
    assert np.mean(np.argmax(subnet, -1) == np.argmax(supernet, -1)) > 0.97


def test_squeeze_excite_is_in_float_without_deployment_grids(
    v3_net, v3_space, small_digits, calibrate_once
):
    """The supernet computes it in float; the device with 8 bits."""
    arch = v3_space.smallest(bits=2)
    calibration = calibrate_once(
        v3_net, arch, tf.constant(small_digits.calibration.read_images()[:32])
    )
    for deployment_grids in (False, True):
        model = v3_net.extract(arch, calibration, deployment_grids=deployment_grids)
        wrapped = WrappedModel(model)
        quantized = [name for name in wrapped.quantized_outputs() if ".se." in name]
        assert bool(quantized) == deployment_grids
        assert bool(wrapped.wrapper("s1.b0.se.expand")._weight_vars) == deployment_grids
        own = wrapped.wrapper("s1.b0.se.expand").layer
        source = v3_net.layer("s1.b0.se")
        kernel = wrapped.weight("s1.b0.se.expand") if deployment_grids else own.kernel
        rows, columns = kernel.shape[2:]
        np.testing.assert_array_equal(kernel[0, 0], source.expand_kernel[:rows, :columns])


@pytest.mark.parametrize("seed", range(3))
def test_predicted_file_size(seed, same_net, v3_space, calibration_batches):
    arch = v3_space.sample(np.random.default_rng(seed))
    subnet = same_net.extract(arch, same_net.calibrate(calibration_batches[:2], arch))
    written = len(exported(subnet, arch))
    genome = v3_space.encode(arch)[None]
    predicted = CostModel(v3_space).evaluate(genome, ["tflite_bytes"])["tflite_bytes"][0]
    assert predicted == pytest.approx(written, rel=0.01)
