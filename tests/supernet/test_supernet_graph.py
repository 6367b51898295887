"""One graph for all subnets: traces, gradients of what is inactive, statistics, errors."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet, QFATraining
from qfa_tf.layers import Mode
from qfa_tf.space.errors import ArchitectureError, GenomeError
from qfa_tf.supernet.calibration import CalibrationError
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("trained_net")


@pytest.fixture(scope="module")
def architectures(small_space):
    rng = np.random.default_rng(7)
    uniform = [small_space.largest(bits=bits) for bits in (2, 3, 4, 8, 32)]
    return [*uniform, small_space.smallest(bits=2), *(small_space.sample(rng) for _ in range(8))]


def test_nothing_is_traced_twice(trained_net, architectures, calibration_batches):
    for arch in architectures:
        calibration = trained_net.calibrate(calibration_batches, arch, batches=1)
        result = trained_net.evaluate_architecture(arch, calibration_batches[:1], calibration)
        assert 0 <= result["accuracy"] <= 1
        assert np.isfinite(result["loss"])
        trained_net(calibration_batches[0][0], genome=arch, training=True)
    counts = trained_net.trace_counts()
    assert counts == dict.fromkeys(counts, 1)
    assert set(counts) == {"train", "calibrate", "settle", "frozen", "subnet_gradients"}


def test_training_learned(trained_net, small_space, small_digits, calibration_batches):
    test = [(small_digits.test.read_images(), small_digits.test.labels)]
    for arch, least in ((small_space.largest(bits=4), 0.9), (small_space.smallest(bits=2), 0.5)):
        calibration = trained_net.calibrate(calibration_batches, arch)
        assert trained_net.evaluate_architecture(arch, test, calibration)["accuracy"] > least


def test_calibration_leaves_the_net_alone(trained_net, architectures, calibration_batches):
    before = [weight.numpy() for weight in trained_net.weights]
    first = trained_net.calibrate(calibration_batches, architectures[-1])
    second = trained_net.calibrate(calibration_batches, architectures[-1])
    np.testing.assert_array_equal(first.statistics, second.statistics)
    assert first.images == sum(len(labels) for _, labels in calibration_batches)
    for old, weight in zip(before, trained_net.weights, strict=True):
        np.testing.assert_array_equal(old, weight.numpy())


def test_statistics_are_weighted_means_of_batches(trained_net, small_space, calibration_batches):
    genome = trained_net.as_genome(small_space.largest(bits=8))
    images = calibration_batches[0][0]
    parts = [images[:40], images[40:]]
    calibrate, layout = trained_net.forward_of(Mode.CALIBRATE), trained_net.layout
    singles = [calibrate(trained_net.check_images(part), genome)[1].numpy() for part in parts]
    sizes = [len(part) for part in parts]
    both = layout.combine(singles, sizes)
    for name in ("stem.mean", "s1.b1.expand.variance", "head.mix.range"):
        expected = np.average([layout.read(single, name) for single in singles], 0, sizes)
        np.testing.assert_allclose(layout.read(both, name), expected, rtol=1e-5, atol=1e-6)
    lows, highs = np.array([layout.read(single, "s1.b1.sum") for single in singles]).T
    np.testing.assert_array_equal(layout.read(both, "s1.b1.sum"), [lows.min(), highs.max()])


def test_frozen_statistics_of_one_batch_give_the_batch_result(trained_net, small_space):
    images = tf.random.stateless_uniform([32, 16, 16, 1], seed=[1, 2])
    arch = small_space.largest(bits=8)
    calibration = trained_net.calibrate([images], arch)
    frozen = trained_net(images, genome=arch, training=False, calibration=calibration)
    batch = trained_net(images, genome=arch, training=True)
    # Two formulas for the normalization: codes may flip at rounding boundaries, hence the margin.
    np.testing.assert_allclose(frozen, batch, atol=0.15)
    assert np.mean(np.argmax(frozen, -1) == np.argmax(batch, -1)) > 0.9


def test_inactive_weights_get_no_gradient(trained_net, small_space):
    images = tf.random.stateless_uniform([16, 16, 16, 1], seed=[3, 4])
    labels = tf.range(16) % 10
    genome = trained_net.as_genome(small_space.smallest(bits=4))
    _, _, gradients = trained_net.training_method.subnet_gradients(
        images, labels, genome, tf.zeros([16, 10]), tf.zeros([]), tf.zeros([2], tf.int64)
    )
    by_variable = {
        variable.ref(): gradient.numpy()
        for variable, gradient in zip(trained_net.trainable_variables, gradients, strict=True)
    }

    def gradient_of(variable):
        return by_variable[variable.ref()]

    skipped = trained_net.site_layer("s1.b1.expand")
    assert all(not gradient_of(weight).any() for weight in skipped.trainable_weights)
    expand = trained_net.site_layer("s1.b0.expand")
    width = small_space.mid_width(1, 0, 2)
    assert gradient_of(expand.kernel)[..., :width].any()
    assert not gradient_of(expand.kernel)[..., width:].any()
    assert not gradient_of(expand.gamma)[width:].any()
    steps = gradient_of(trained_net.precision.step)[trained_net.precision.steps_of(expand.name)]
    used = expand.weight_quantizer.bit_widths.choices.index(4)
    assert steps[used] != 0
    assert not np.delete(steps, used).any()


def test_kernel_3_is_the_transformed_centre(trained_net, small_space):
    layer = trained_net.site_layer("s1.b0.depthwise")
    kernel = layer.kernel.numpy()
    flat = kernel[1:4, 1:4].reshape(9, -1)
    expected = (layer.transform.matrices[3].numpy() @ flat).reshape(3, 3, -1, 1)
    np.testing.assert_allclose(layer.transform(tf.constant(kernel), 3), expected, rtol=1e-5)
    np.testing.assert_array_equal(layer.transform(tf.constant(kernel), 5), kernel)


def test_weight_quantization_levels(trained_net, small_space):
    for bits in (2, 3, 4, 8):
        arch = small_space.largest(bits=bits)
        images = tf.zeros([2, 16, 16, 1])
        calibration = trained_net.calibrate([images], arch)
        model = trained_net.extract(arch, calibration, deployment_grids=False)
        for layer in model.layers:
            quantizer = (
                getattr(layer.quantize_config, "weight_quantizer", None)
                if hasattr(layer, "quantize_config")
                else None
            )
            if quantizer is not None and layer.layer.name not in ("stem", "classifier"):
                weight, _, variables = layer._weight_vars[0]
                levels = np.unique(quantizer(tf.convert_to_tensor(weight), False, variables))
                assert len(levels) <= 2**bits


def test_errors(trained_net, small_space, calibration_batches):
    arch = small_space.largest(bits=4)
    calibration = trained_net.calibrate(calibration_batches, arch, batches=1)
    with pytest.raises(CalibrationError, match="another architecture"):
        trained_net.evaluate_architecture(
            small_space.largest(bits=2), calibration_batches, calibration
        )
    with pytest.raises(ValueError, match=r"shape \[N, height, width, 1\].*\[4, 16, 16, 3\]"):
        trained_net.calibrate([tf.zeros([4, 16, 16, 3])], arch)
    with pytest.raises(ValueError, match="calibration data is empty"):
        trained_net.calibrate([], arch)
    with pytest.raises(GenomeError, match="another space"):
        trained_net(tf.zeros([1, 16, 16, 1]), genome=np.zeros(3, np.int32))
    foreign = type(small_space).from_preset("digits_tiny").largest(bits=4)
    with pytest.raises(ArchitectureError, match="belongs to space 'digits_tiny'"):
        trained_net.calibrate(calibration_batches, foreign)
    with pytest.raises(ValueError, match="Give the genome"):
        trained_net(tf.zeros([1, 16, 16, 1]))
    floating = small_space.largest(bits=32)
    calibration = trained_net.calibrate(calibration_batches, floating, 1)
    with pytest.raises(ValueError, match="in float"):
        trained_net.extract(floating, calibration)


def test_construction_errors(small_space):
    import keras as keras_3

    net = QFASupernet(small_space, num_classes=7)
    assert net.space.num_classes == 7
    with pytest.raises(TypeError, match="Keras 3 object"):
        net.compile(optimizer=keras_3.optimizers.SGD(0.1), training=QFATraining())
    with pytest.raises(TypeError, match="must be a SearchSpace"):
        QFASupernet("digits_tiny")
    again = QFASupernet.from_config(net.get_config())
    assert again.space == net.space


def test_float_sites_have_no_quantizers(small_space):
    fixed = {site.name: (32, 32) for site in small_space.sites}
    net = QFASupernet(small_space.replace(name="float", fixed_bits=fixed))
    assert all(net.site_layer(site).weight_quantizer is None for site in fixed)
    genome = net.as_genome(net.space.largest())
    logits, _ = net.run_subnet(Mode.TRAIN, tf.zeros([2, 16, 16, 1]), genome)
    assert logits.shape == (2, 10)
    assert (net.precision.step.shape[0], net.precision.theta.shape[0]) == (0, 0)


def test_keras_backend_is_tf_keras():
    assert keras.__name__ == "tf_keras"
