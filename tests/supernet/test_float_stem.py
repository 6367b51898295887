"""The papers keep the stem in float; a device computes it with 8 bits."""

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from qfa_tf import QFASupernet
from qfa_tf.layers import Mode
from qfa_tf.supernet.extraction import ExtractionError
from qfa_tf.supernet.supernet import resize
from quantize_configs.wrappers import WrappedModel

pytestmark = pytest.mark.xdist_group("v3_net")


@pytest.fixture(scope="module")
def net(v3_net, v3_space):
    """The trained weights, and quantizers at all sites but the stem."""
    fixed = {"stem": (32, 32), "classifier": (8, 8)}
    net = QFASupernet(v3_space.replace(name="float_stem", fixed_bits=fixed), padding="symmetric")
    assert net.site_layer("stem").weight_quantizer is None
    assert net.site_layer("stem").activation_quantizer is None
    for site in v3_space.sites:
        net.site_layer(site.name).set_weights(v3_net.site_layer(site.name).get_weights())
        if site.name != "stem":
            own, theirs = net.precision, v3_net.precision
            net.precision.set_steps(site.name, theirs.step.numpy()[theirs.steps_of(site.name)])
            for role in ("theta", "beta"):
                values = getattr(own, role).numpy()
                place = theirs.activations_of(site.name)
                values[own.activations_of(site.name)] = getattr(theirs, role).numpy()[place]
                getattr(own, role).assign(values)
    for name in ("s0.b0", "s1.b0", "s1.b1"):
        source = v3_net.block_layer(name).squeeze_excite
        net.block_layer(name).squeeze_excite.set_weights(source.get_weights())
    return net


@pytest.fixture(scope="module")
def calibrated(net, small_digits, calibrate_once):
    arch = net.space.largest(bits=4)
    return arch, calibrate_once(net, arch, tf.constant(small_digits.calibration.images[:256]))


def test_refused_without_deployment_grids(net, calibrated):
    with pytest.raises(ExtractionError, match=r"\['stem'\] in float.*deployment_grids=True"):
        net.extract(*calibrated, deployment_grids=False)


def test_deployed_at_8_bits(net, calibrated, small_digits):
    arch, calibration = calibrated
    assert arch.site_bits["stem"] == (32, 32)
    model = net.extract(arch, calibration)
    wrapped = WrappedModel(model)
    assert wrapped.weight_quantizer("stem").bit_widths.choices == (8,)
    step, _, bits = wrapped.activation_grid("stem.input")
    assert bits == 8
    assert step == pytest.approx(1 / 255, rel=0.01)  # digits fill [0, 1]
    images = tf.constant(small_digits.test.images)
    supernet, _ = net.run_subnet(Mode.FROZEN, images, net.as_genome(arch), calibration.statistics)
    resized = resize(images, arch.resolution).numpy()
    subnet = model(resized, training=False)
    # Not equal: codes behind the stem may round the other way.
    assert np.mean(np.abs(subnet - supernet)) < 0.2 * np.std(supernet)
    flatbuffer = tflite_tools.convert(model)
    report = tflite_tools.verify(flatbuffer, model, resized, integer_images=8)
    assert report.mismatches == 0, str(report)
    assert report.top1_agreement >= 0.995, str(report)


def test_other_float_sites_are_named(net, small_digits, calibrate_once):
    arch = net.space.largest(bits=32)
    calibration = calibrate_once(net, arch, tf.constant(small_digits.calibration.images[:32]))
    with pytest.raises(ExtractionError, match=r"in float \(32 bits\): \['head.expand'"):
        net.extract(arch, calibration)
