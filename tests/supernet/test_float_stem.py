"""The papers keep the stem in float; a device computes it with 8 bits, or in float if asked."""

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from qfa_tf import Calibration, QFASupernet
from qfa_tf.layers import Mode
from qfa_tf.layers.execution import resize
from qfa_tf.supernet.extraction import ExtractionError
from quantize_configs.keras_backend import keras
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
        source = v3_net.layer(f"{name}.se")
        net.layer(f"{name}.se").set_weights(source.get_weights())
    return net


@pytest.fixture(scope="module")
def calibrated(net, small_digits, calibrate_once):
    arch = net.space.largest(bits=4)
    return arch, calibrate_once(
        net, arch, tf.constant(small_digits.calibration.read_images()[:256])
    )


def test_refused_without_deployment_grids(net, calibrated):
    with pytest.raises(ExtractionError, match=r"\['stem'\] in float.*deployment_grids=True"):
        net.extract(*calibrated, deployment_grids=False)


FLOATS = {"float32": ("FLOAT32", (32, 32)), "float16": ("FLOAT16", (16, 32))}


@pytest.fixture(scope="module", params=FLOATS)
def kept(request, net, calibrated, small_digits):
    """(name of the float type, subnet with a float stem, its file, report)."""
    model = net.extract(*calibrated, float_sites=request.param)
    flatbuffer = tflite_tools.convert(model, input_type="uint8", pixel_range=(0.0, 1.0))
    images = resize(tf.constant(small_digits.test.read_images()), calibrated[0].resolution).numpy()
    threads = 2 if request.param == "float16" else 1
    report = tflite_tools.verify(flatbuffer, model, images, integer_images=8, num_threads=threads)
    return request.param, model, flatbuffer, report


def test_kept_in_float_in_one_partition(kept):
    name, _, flatbuffer, report = kept
    assert [item.kernel_set.name for item in report.integers.kernel_sets] == [
        "XNNPACK",
        "BUILTIN",
        "REFERENCE",
    ]
    assert report.mismatches == 0, str(report)
    assert report.top1_agreement >= 0.995, str(report)
    xnnpack, *_ = report.integers.kernel_sets
    assert (xnnpack.partitions, xnnpack.fallbacks) == (1, ())
    floats = (
        "PAD -> stem.padding",
        "CONV_2D -> stem.norm",
        "HARD_SWISH -> stem.activation.result",
    )
    assert report.integers.float_operators == floats
    assert report.as_dict()["integers"]["float_operators"] == floats
    assert all(f"  in float: {operator}\n" in str(report) for operator in floats)
    assert {item.name for item in xnnpack.tensors} >= {"stem.norm", "stem.activation.result"}
    weight_type, pair = FLOATS[name]
    inspected = tflite_tools.inspect(flatbuffer)
    (stem,) = (it for it in inspected.layers if (it.name, it.operator) == ("stem", "CONV_2D"))
    assert (stem.weight_type, stem.delegate) == (weight_type, "XNNPACK")
    assert tuple(inspected.metadata["bits"]["stem"]) == pair


def test_float_stem_is_that_of_the_supernet(kept, net, calibrated, small_digits):
    """What the stem makes, before the 8 bits of the tensor behind it."""
    name, model, _, _ = kept
    arch, calibration = calibrated
    images = resize(tf.constant(small_digits.test.read_images()[:16]), arch.resolution)
    wrapped = WrappedModel(model)
    assert wrapped.output_quantizer("stem.norm") is None
    stem = keras.Model(model.inputs, wrapped.wrapper("stem.norm").output)(images, training=False)
    source = net.site_layer("stem")
    kernel = source.kernel.numpy()
    padded = np.pad(images.numpy(), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    sums = np.einsum("nhwcij,ijco->nhwo", windows.astype(np.float64), kernel)
    mean, variance = (calibration.read(net.layout, f"stem.{it}") for it in ("mean", "variance"))
    gain = source.gamma.numpy() / np.sqrt(variance + source.epsilon)
    expected = (sums - mean) * gain + source.beta.numpy()
    rounding = {"float32": 1e-5, "float16": 2**-11 * np.abs(kernel).sum((0, 1, 2)) * gain + 1e-5}
    assert np.all(np.abs(stem - expected) <= rounding[name])


def test_float_stem_equals_the_supernet_without_deployment_grids(
    net, calibrated, small_digits, float64_layers
):
    arch, calibration = calibrated
    images = tf.constant(small_digits.test.read_images()[:24], tf.float64)
    genome = net.as_genome(arch)
    expected, _ = net.run_subnet(Mode.FROZEN, images, genome, calibration.statistics)
    model = net.extract(arch, calibration, deployment_grids=False, float_sites="float32")
    actual = model(resize(images, arch.resolution), training=False)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
    assert np.std(actual, 0).min() > 0.01


def test_unknown_float_sites(net, calibrated):
    with pytest.raises(ExtractionError, match=r"one of int8, float32, float16\. Received: 'half'"):
        net.extract(*calibrated, float_sites="half")


def test_half_float_sites_become_8_bit_sites_only(net):
    """Weights in float and activations in 4 bits have no kernel."""
    half = net.space.replace(name="half", fixed_bits={"stem": (32, 4), "classifier": (8, 8)})
    other = QFASupernet(half)
    calibration = Calibration(half.largest(bits=4), half.fingerprint, np.zeros(1), 1)
    with pytest.raises(ExtractionError, match=r"only one is float: \{'stem': \(32, 4\)\}"):
        other.extract(half.largest(bits=4), calibration, float_sites="float16")


def test_deployed_at_8_bits(net, calibrated, small_digits):
    arch, calibration = calibrated
    assert arch.site_bits["stem"] == (32, 32)
    model = net.extract(arch, calibration)
    wrapped = WrappedModel(model)
    assert wrapped.weight_quantizer("stem").bit_widths.choices == (8,)
    step, _, bits = wrapped.activation_grid("stem.input")
    assert bits == 8
    assert step == pytest.approx(1 / 255, rel=0.01)  # digits fill [0, 1]
    images = tf.constant(small_digits.test.read_images())
    supernet, _ = net.run_subnet(Mode.FROZEN, images, net.as_genome(arch), calibration.statistics)
    resized = resize(images, arch.resolution).numpy()
    subnet = model(resized, training=False)
    # Not equal: codes behind the stem may round the other way.
    assert np.mean(np.abs(subnet - supernet)) < 0.2 * np.std(supernet)
    flatbuffer = tflite_tools.convert(model)
    report = tflite_tools.verify(flatbuffer, model, resized, integer_images=8)
    assert report.mismatches == 0, str(report)
    assert report.integers.float_operators == ()
    assert report.top1_agreement >= 0.995, str(report)


def test_other_float_sites_are_named(net, small_digits, calibrate_once):
    arch = net.space.largest(bits=32)
    calibration = calibrate_once(
        net, arch, tf.constant(small_digits.calibration.read_images()[:32])
    )
    with pytest.raises(ExtractionError, match=r"in float \(32 bits\): \['head.expand'"):
        net.extract(arch, calibration)
