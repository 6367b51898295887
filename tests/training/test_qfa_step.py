"""The training step: loss, teacher, summed gradients, decay, stages."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet, QFATraining, TrainingStage
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("trained_net")


@pytest.fixture(scope="module")
def net(small_space):
    keras.utils.set_random_seed(1)
    net = QFASupernet(small_space)
    recipe = QFATraining(
        stages=(TrainingStage((32,), 2), TrainingStage((2, 3, 4, 8))),
        random_subnets=1,
        weight_decay=0.5,
        clip_norm=1e9,
    )
    net.compile(optimizer=keras.optimizers.SGD(1e-3), training=recipe)
    return net


def test_loss_gradient(net):
    """d loss / d logits = ((1 + w) softmax(logits) - labels - w softmax(teacher)) / N."""
    rng = np.random.default_rng(0)
    logits, teacher = (tf.constant(rng.normal(size=(5, 10)), tf.float32) for _ in range(2))
    labels = tf.constant([3, 1, 4, 1, 5])
    weight = 0.7
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = net.training_method._loss(labels, logits, teacher, weight)
    smooth = tf.one_hot(labels, 10) * 0.9 + 0.01
    expected = ((1 + weight) * tf.nn.softmax(logits) - smooth - weight * tf.nn.softmax(teacher)) / 5
    np.testing.assert_allclose(tape.gradient(loss, logits), expected, atol=1e-6)


def test_step_sums_gradients_and_adds_decay(net):
    rng = np.random.default_rng(1)
    images = tf.constant(rng.uniform(size=(16, 16, 16, 1)), tf.float32)
    labels = tf.constant(rng.integers(0, 10, 16), tf.int32)
    method, variables = net.training_method, net.trainable_variables
    assert method.roles == ("teacher", "smallest", "largest", "random")
    before = [tf.identity(variable) for variable in variables]
    genomes = method.genomes(net.optimizer.iterations)
    seed = tf.zeros([2], tf.int64)
    _, teacher, total = method.subnet_gradients(
        images, labels, genomes[0], tf.zeros([16, 10]), tf.zeros([]), seed
    )
    for genome in genomes[1:]:
        _, _, gradients = method.subnet_gradients(
            images, labels, genome, teacher, tf.constant(1.0), seed
        )
        total = [a + b for a, b in zip(total, gradients, strict=True)]
    logs = tf.function(method.step)(images, labels)
    decayed = {weight.ref() for weight in net.decayed_weights}
    assert all("kernel" in weight.name for weight in net.decayed_weights)
    for variable, old, gradient in zip(variables, before, total, strict=True):
        gradient += 0.5 * old if variable.ref() in decayed else 0.0
        expected = old - 1e-3 * gradient
        if "gamma" in variable.name:
            expected = tf.maximum(expected, 1e-3)
        np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-6)
    assert set(logs) == {
        "gradient_norm",
        *(f"{role}_{what}" for role in method.roles for what in ("loss", "accuracy")),
    }


def test_stages_follow_the_step(net):
    stage = [int(net.training_method.stage_of(tf.constant(step, tf.int64))) for step in range(4)]
    assert stage == [0, 0, 1, 1]


def test_gains_stay_positive(net):
    for site in ("stem", "s1.b0.project"):
        gamma = net.site_layer(site).gamma
        assert gamma.constraint(tf.constant([-1.0, 0.5])).numpy().tolist() == pytest.approx(
            [1e-3, 0.5]
        )
