"""No step that is not finite is applied; a few in a row end a training."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet, QFATraining, TrainingStage
from qfa_tf.training import DivergedError
from qfa_tf.training.guard import MOST_IN_A_ROW
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("trained_net")


@pytest.fixture(scope="module")
def trained(small_space):
    """A net and the state it has after its first step; momentum and counters included."""
    keras.utils.set_random_seed(1)
    net = QFASupernet(small_space)
    recipe = QFATraining(stages=(TrainingStage((2, 3, 4, 8)),), random_subnets=0)
    net.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9), training=recipe)
    net.train_on_batch(*batch())
    return net, [variable.numpy().copy() for variable in state(net)]


@pytest.fixture
def net(trained):
    net, before = trained
    yield net
    for variable, value in zip(state(net), before, strict=True):
        variable.assign(value)


def state(net):
    guard = net.training_method.guard
    return [*net.variables, *net.optimizer.variables, guard.in_a_row, guard.skipped]


def batch():
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(8, 16, 16, 1)).astype(np.float32)
    return tf.constant(images), tf.constant(rng.integers(0, 10, 8), tf.int32)


def overflow(net):
    """Makes the products of finite weights infinite; returns the kernel and how to mend it."""
    kernel = net.site_layer("s1.b0.project").kernel
    good = kernel.numpy().copy()
    kernel.assign(tf.ones_like(kernel) * 3e38)
    return kernel, good


def test_a_step_that_is_not_finite_changes_nothing_but_the_number_of_the_step(net):
    bias, kernel = net.site_layer("classifier").bias, net.site_layer("classifier").kernel
    good = bias.numpy().copy()
    bias.assign(tf.fill(bias.shape, np.nan))
    kept = [
        value
        for value in (*net.variables, *net.optimizer.variables)
        if value is not net.optimizer.iterations
    ]
    before = [value.numpy().copy() for value in kept]
    step, guard = int(net.optimizer.iterations), net.training_method.guard
    net.train_on_batch(*batch())
    assert int(net.optimizer.iterations) == step + 1
    for old, now in zip(before, kept, strict=True):
        np.testing.assert_array_equal(old, now.numpy())
    assert (int(guard.in_a_row), int(guard.skipped)) == (1, 1)
    assert guard.first.step == step
    bias.assign(good)
    old = kernel.numpy().copy()
    net.train_on_batch(*batch())
    assert (int(guard.in_a_row), int(guard.skipped)) == (0, 1)
    assert guard.first is None
    assert (kernel.numpy() != old).any()


def test_fit_ends_after_a_few_in_a_row_and_goes_on_when_the_cause_is_gone(net):
    """The sentence names the step, the subnet and the site; the weights are those before."""
    kernel, good = overflow(net)
    weights = [value.numpy().copy() for value in net.trainable_variables]
    dataset = tf.data.Dataset.from_tensors(batch()).repeat(20)
    first = int(net.optimizer.iterations) + 1
    with pytest.raises(DivergedError, match=rf"diverged at step {first}: .*nan") as caught:
        net.fit(dataset, verbose=0)
    assert int(net.optimizer.iterations) == first - 1 + MOST_IN_A_ROW
    assert f"{MOST_IN_A_ROW} steps in a row were not applied" in str(caught.value)
    assert caught.value.found.site == "s1.b0.project", caught.value
    assert "s1.b0.project has weights up to 3e+38" in str(caught.value)
    for old, now in zip(weights, net.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, now.numpy())
    kernel.assign(good)
    net.fit(dataset, verbose=0)
    assert int(net.training_method.guard.in_a_row) == 0
