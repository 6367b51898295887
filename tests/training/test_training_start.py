"""A new net's first loss is ln(classes), its first gradient is small, and stays so."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet, QFATraining, SearchSpace, TrainingStage
from qfa_tf.layers.kernel_start import STARTS
from qfa_tf.network import Sum
from qfa_tf.supernet.options import KERNEL_STARTS
from quantize_configs.keras_backend import keras

QUICK = ("digits_tiny", "fashion_mnist")
IMAGES = 20


def presets():
    """All, those that take longer marked."""
    for name in SearchSpace.presets():
        yield pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])


def first_step(space, bits, **options):
    """What the first step of a training of the whole supernet returns."""
    keras.utils.set_random_seed(0)
    net = QFASupernet(space, **options)
    recipe = QFATraining(stages=(TrainingStage(bits),), random_subnets=2, distillation="none")
    net.compile(optimizer=keras.optimizers.SGD(1e-3), training=recipe)
    rng = np.random.default_rng(0)
    size = space.resolutions[-1]
    images = rng.normal(size=(IMAGES, size, size, space.input_channels)).astype(np.float32)
    net.training_method.image_source = lambda step: tf.constant(images)
    labels = np.arange(IMAGES, dtype=np.int32) % space.num_classes  # as many of each
    return net.train_on_batch(images, labels, return_dict=True)


def check(logs, classes, tolerance=0.05):
    for role in ("smallest", "largest", "random"):
        assert float(logs[f"{role}_loss"]) == pytest.approx(np.log(classes), abs=tolerance), role
    assert 0.0 < float(logs["gradient_norm"]) < 30.0


@pytest.mark.usefixtures("eager_functions")
@pytest.mark.parametrize("kind", ["quantized", "float"])
@pytest.mark.parametrize("name", list(presets()))
def test_first_step(name, kind):
    space = SearchSpace.from_preset(name)
    bits = tuple(sorted({*space.weight_bits, *space.activation_bits}))
    check(first_step(space, bits if kind == "quantized" else (32,)), space.num_classes)


@pytest.mark.usefixtures("eager_functions")
@pytest.mark.parametrize("quantizer", ["lsq", "lsq_plus", "pact"])
def test_first_step_on_learned_grids(small_space, quantizer):
    logs = first_step(small_space, (2, 3, 4, 8), activation_quantizer=quantizer)
    check(logs, small_space.num_classes, tolerance=0.1)  # its classifier has 32 inputs


@pytest.mark.parametrize("name", QUICK)
def test_residual_branches_start_small(name):
    """The last normalization of each, and no other one."""
    space = SearchSpace.from_preset(name)
    net = QFASupernet(space, residual_gain=0.125)
    network = space.network
    sums = {node.name: node for node in network.nodes if isinstance(node, Sum)}
    ends = {site.name for site in network.sites if network.ends_branch(site.name)}
    assert len(ends) == len(sums)
    assert all(ends & set(node.inputs) for node in sums.values())
    for site in network.sites:
        if site.normalization:
            gains = net.site_layer(site.name).gamma.numpy()
            np.testing.assert_array_equal(gains, 0.125 if site.name in ends else 1.0)


def test_names_of_starts():
    assert tuple(STARTS) == KERNEL_STARTS


def test_uniform_start_has_small_logits_whatever_the_classes():
    kernel = STARTS["uniform"](1, 256, 10)((256, 10)).numpy()
    assert np.abs(kernel).max() <= 1 / 16
    assert kernel.std() == pytest.approx(1 / 16 / np.sqrt(3), rel=0.05)


@pytest.fixture(params=["integer", "fractional"])
def arithmetic(request):
    from qfa_tf.layers.arithmetic import arithmetic_of

    return arithmetic_of(request.param)


def normalization_gradients(arithmetic, x, stop_constant, epsilon=1e-2):
    gamma, beta = tf.constant([0.5, 2.0, 1.5]), tf.constant([1.0, -1.0, 0.0])
    upstream = tf.constant(np.random.default_rng(1).normal(size=x.shape), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch((x, gamma, beta))
        y, *_ = arithmetic.normalize_batch(x, gamma, beta, epsilon, False, stop_constant)
        loss = tf.reduce_sum(y * upstream)
    return y, upstream, tape.gradient(loss, (x, gamma, beta))


def test_constant_channels_pass_no_gradient(arithmetic):
    """Their output is beta, which still learns; all other channels have the usual gradient."""
    x = np.random.default_rng(0).normal(size=(4, 5, 5, 3)).astype(np.float32)
    x[..., 1] = 0.25
    x = tf.constant(x)
    y, upstream, (to_x, to_gamma, to_beta) = normalization_gradients(arithmetic, x, True)
    _, _, passed = normalization_gradients(arithmetic, x, False)
    np.testing.assert_allclose(y[..., 1], -1.0, atol=1e-5)
    assert not to_x.numpy()[..., 1].any()
    np.testing.assert_array_equal(to_x.numpy()[..., [0, 2]], passed[0].numpy()[..., [0, 2]])
    np.testing.assert_array_equal(to_gamma, passed[1])
    np.testing.assert_allclose(to_beta, tf.reduce_sum(upstream, [0, 1, 2]), rtol=1e-5)
    # What was passed: the centred gradient times gamma / sqrt(epsilon).
    centred = upstream[..., 1] - tf.reduce_mean(upstream[..., 1])
    np.testing.assert_allclose(passed[0][..., 1], centred * 2.0 / 0.1, rtol=1e-3, atol=1e-3)


def test_gradient_of_normalization_is_that_of_keras(arithmetic):
    x = tf.constant(np.random.default_rng(2).normal(size=(4, 5, 5, 3)), tf.float32)
    y, upstream, gradients = normalization_gradients(arithmetic, x, True)
    layer = keras.layers.BatchNormalization(epsilon=1e-2)
    layer.build(x.shape)
    layer.gamma.assign([0.5, 2.0, 1.5])
    layer.beta.assign([1.0, -1.0, 0.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        expected = layer(x, training=True)
        loss = tf.reduce_sum(expected * upstream)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    for own, its in zip(gradients, tape.gradient(loss, (x, *layer.trainable_weights)), strict=True):
        np.testing.assert_allclose(own, its, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_do_not_explode(seed):
    """300 steps of the official recipe at 32 px without clipping, three equal channels."""
    from qfa_tf.data import load

    data = load("digits", 32)
    space = SearchSpace.mobilenet_v3(0.25, resolutions=(32,), num_classes=10)
    keras.utils.set_random_seed(seed)
    net = QFASupernet(space)
    rate = keras.optimizers.schedules.CosineDecay(0.0, 250, warmup_target=0.04, warmup_steps=50)
    recipe = QFATraining(
        stages=(TrainingStage((2, 3, 4)),), distillation="none", clip_norm=1e30, seed=seed
    )
    net.compile(optimizer=keras.optimizers.SGD(rate, 0.9, nesterov=True), training=recipe)
    images, labels = data.train.read_images(), data.train.labels
    rng = np.random.default_rng(seed)
    norms = []
    for _ in range(300):
        chosen = rng.choice(len(images), 32, replace=False)
        batch = np.repeat((images[chosen] - images.mean()) / images.std(), 3, -1)
        logs = net.train_on_batch(batch, labels[chosen], return_dict=True)
        norms.append(float(logs["gradient_norm"]))
    assert max(norms) < 10 * np.median(norms)
