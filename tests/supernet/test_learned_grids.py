"""Supernets with learned activation grids: LSQ (OQA), LSQ+ and PACT."""

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from qfa_tf import QFASupernet, QFATraining, TrainingStage
from qfa_tf.data import training_batches
from qfa_tf.layers import Mode
from qfa_tf.layers.execution import resize
from qfa_tf.supernet.options import SIGNED_INPUTS
from quantize_configs import load_model, save_model
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("learned_grids")


@pytest.fixture(scope="module")
def uniform_space(v3_space):
    return v3_space.replace(name="tiny_v3_w4", weight_bits=(4,), activation_bits=(4,))


@pytest.fixture(scope="module")
def net(uniform_space, small_digits):
    """Shared steps, 4 bits everywhere, shortly trained. Do not modify it."""
    keras.utils.set_random_seed(0)
    net = QFASupernet(uniform_space, activation_quantizer="lsq", shared_step=True)
    net.compile(
        optimizer=keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True),
        training=QFATraining(
            stages=(TrainingStage((4,)),), random_subnets=1, clip_norm=5.0, distillation="none"
        ),
    )
    dataset = training_batches(small_digits.train, 64, seed=0)
    net.fit(dataset, steps_per_epoch=40, epochs=1, verbose=0)
    return net


def test_one_step_per_site(net):
    """For all kernel sizes, widths, depths and resolutions."""
    bank = net.precision
    sites = len(net.space.sites)
    assert bank.step.shape == bank.activation_step.shape == bank.activation_low.shape == (sites,)
    site = "s1.b0.depthwise"
    rows = set()
    for kernel_size in (3, 5, 7):
        genome = net.space.encode(net.space.largest())
        genome[net.space.gene_index["s1.b0.kernel_size"]] = kernel_size
        choice = net.site_choices(tf.constant(genome))[site]
        rows.add((float(choice.weight.step), float(choice.activation.step)))
    assert rows == {
        (bank.weight_step(site, 4), float(bank.activation_step[bank.activations_of(site)][0]))
    }


def test_training_moves_grids_and_needs_only_normalization(net, calibration_batches):
    """Ranges of a calibration play no part in what the net computes."""
    assert (net.precision.activation_started.numpy() == 1).all()
    arch = net.space.sample(np.random.default_rng(0))
    calibration = net.calibrate(calibration_batches[:2], arch)
    images = tf.constant(calibration_batches[0][0])
    genome = net.as_genome(arch)
    expected = net.run_subnet(Mode.FROZEN, images, genome, calibration.statistics)[0]
    changed = calibration.statistics.copy()
    for name, entry in net.layout.entries.items():
        if name.endswith(".range"):
            changed[entry.slice] = [-77.0, 99.0]
    np.testing.assert_array_equal(net.run_subnet(Mode.FROZEN, images, genome, changed)[0], expected)


@pytest.mark.parametrize("signed_inputs", SIGNED_INPUTS)
def test_grids_by_sign(uniform_space, small_digits, signed_inputs):
    """Unsigned behind a ReLU; where an input can be negative, as asked for."""
    net = QFASupernet(uniform_space, activation_quantizer="lsq", signed_inputs=signed_inputs)
    kinds = {
        site.name: net.site_layer(site.name).activation_quantizer.grid_kind
        for site in uniform_space.sites
    }
    other = {"offset": "offset", "signed": "signed", "clip": "unsigned"}[signed_inputs]
    assert kinds.pop("stem") == ("signed" if signed_inputs == "signed" else "offset")
    assert kinds == {
        "s0.b0.depthwise": other,  # reads a hard-swish
        "s0.b0.project": "unsigned",  # reads a ReLU
        **{name: other for name in kinds if name.startswith(("s1", "head", "classifier"))},
    }
    images = tf.constant(small_digits.train.read_images()[:16])
    with pytest.raises(RuntimeError, match="start_activations"):
        net.calibrate([images], uniform_space.largest())
    net.start_activations(images)
    assert not net.precision.unstarted.any()
    before = net.precision.activation_step.numpy()
    net.start_activations(images * 0.5)
    np.testing.assert_array_equal(net.precision.activation_step, before)  # they had values
    net.start_activations(images * 0.5, replace=True)
    step, _ = net.precision.activation_parameters("stem", 8)
    assert step < before[0]


def test_signs(small_space):
    network = small_space.network
    names = [one.name for one in network.sites if not network.is_nonnegative(one.inputs[0])]
    assert [name for name in names if not name.endswith(".expand")] == ["stem"]


@pytest.mark.parametrize("seed", range(3))
def test_promises(seed, net, small_digits, calibration_batches):
    """LiteRT equals the integers bit for bit, and Keras in what it says."""
    arch = net.space.sample(np.random.default_rng(seed))
    calibration = net.calibrate(calibration_batches[:4], arch)
    container = ("auto", "int8")[seed % 2]
    subnet = net.extract(arch, calibration, weight_container=container)
    flatbuffer = tflite_tools.convert(subnet, weight_container=container)
    images = resize(tf.constant(small_digits.test.read_images()[:200]), arch.resolution).numpy()
    labels = small_digits.test.labels[:200]
    report = tflite_tools.verify(flatbuffer, subnet, images, labels=labels, integer_images=8)
    assert report.mismatches == 0, str(report)
    assert report.top1_agreement >= 0.995, str(report)
    assert report.integers.kernel_sets[0].fully_delegated, report.integers.kernel_sets[0].fallbacks


def test_extraction_computes_what_the_net_computes(
    net, small_digits, calibration_batches, tmp_path
):
    arch = net.space.largest()
    calibration = net.calibrate(calibration_batches[:4], arch)
    images = resize(tf.constant(small_digits.test.read_images()[:100]), arch.resolution)
    expected = net(images, genome=arch, calibration=calibration)
    model = net.extract(arch, calibration, deployment_grids=False)
    actual = model(images, training=False)
    spread = float(tf.math.reduce_std(expected))
    assert float(tf.reduce_mean(tf.abs(actual - expected))) < 1e-2 * spread
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    np.testing.assert_array_equal(again(images, training=False), actual)


@pytest.mark.parametrize("kind", ["lsq", "lsq_plus", "pact"])
def test_mixed_bits(kind, v3_space, small_digits):
    """Baselines: steps per bits and kernel size learn from finite gradients, next to float."""
    keras.utils.set_random_seed(3)
    net = QFASupernet(v3_space, activation_quantizer=kind)
    images = tf.constant(small_digits.train.read_images()[:32])
    net.start_activations(images)
    bank = net.precision
    genome = net.space.encode(net.space.largest(bits=3))
    with tf.GradientTape() as tape:
        logits, _ = net.run_subnet(Mode.TRAIN, images, tf.constant(genome))
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(small_digits.train.labels[:32], logits)
        )
    variables = [bank.activation_step, bank.activation_low]
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        gradient = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(gradient).all()
        assert gradient.any(), variable.name
        place = bank.activations_of("s1.b0.depthwise")
        rows = gradient[place].reshape(3, 4)  # kernel sizes by bits
        assert not np.delete(rows.reshape(-1), 2 * 4 + 1).any()
    in_float = net.run_subnet(Mode.TRAIN, images, net.as_genome(net.space.largest(bits=32)))[0]
    assert np.isfinite(in_float).all()
    with pytest.raises(ValueError, match="integer zero points"):
        QFASupernet(v3_space, activation_quantizer=kind, zero_point="fractional")
    with pytest.raises(ValueError, match="activation_quantizer must be one of"):
        QFASupernet(v3_space, activation_quantizer="dorefa")
