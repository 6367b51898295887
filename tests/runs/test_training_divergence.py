"""A training that goes wrong says where, and keeps its last good checkpoint."""

import json

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf.runs import DivergedError, Workdir, restore, train
from qfa_tf.runs.building import (
    build_batches,
    build_data,
    build_net,
    build_optimizer,
    build_training,
)
from qfa_tf.runs.checkpoints import newest
from qfa_tf.runs.config import complete_config
from qfa_tf.runs.training.loop import TrainingLoop
from qfa_tf.space import Architecture
from qfa_tf.training.divergence import _find_in_gradients, find_divergence

pytestmark = pytest.mark.xdist_group("runs")

STEP = 5  # of the last stage: teacher, smallest, largest and random subnets


@pytest.fixture(scope="module")
def run(make_config):
    """A compiled net and the batch of a step."""
    config = complete_config(make_config())
    data = build_data(config)
    net = build_net(config)
    net.compile(optimizer=build_optimizer(config), training=build_training(config))
    return net, next(iter(build_batches(config, data, STEP)))


@pytest.fixture
def net(run):
    """The net, put back in order after the test."""
    before = [weight.numpy().copy() for weight in run[0].weights]
    yield run[0]
    for weight, value in zip(run[0].weights, before, strict=True):
        weight.assign(value)


@pytest.fixture
def batch(run):
    return run[1]


def test_nothing_is_found_in_a_good_step(net, batch):
    assert find_divergence(net, STEP, [batch]) is None


@pytest.mark.parametrize(
    ("site", "variable"), [("s0.b0.depthwise", "kernel"), ("classifier", "bias")]
)
def test_broken_weight(net, batch, site, variable):
    weight = getattr(net.site_layer(site), variable)
    value = weight.numpy().copy()
    value.flat[-1] = np.nan
    weight.assign(value)
    found = find_divergence(net, STEP, [batch])
    assert (found.site, found.step) == (site, STEP + 1)
    assert f"the weight {weight.name} of {site}" in str(found)


def test_broken_quantizer_parameter(net, batch):
    place = net.precision.steps_of("s0.b0.project")
    steps = net.precision.step.numpy().copy()
    steps[place] = np.inf
    net.precision.step.assign(steps)
    assert find_divergence(net, STEP, [batch]).site == "s0.b0.project"


def test_overflow_in_the_forward_pass(net, batch, tiny_space):
    """Finite weights whose products are not: found where the overflow happens."""
    kernel = net.site_layer("s0.b0.expand").kernel
    kernel.assign(tf.ones_like(kernel) * 3e38)
    found = find_divergence(net, STEP, [batch])
    assert found.site == "s0.b0.expand"
    assert found.what == "the output of s0.b0.expand"
    assert found.role == "teacher"
    tiny_space.encode(found.architecture)  # it is of this space
    assert found.architecture.describe() in str(found)


def test_overflow_in_the_gradient(net):
    """Gradients are computed backwards: the last site is where it began."""
    variables = net.trainable_variables
    gradients = [tf.zeros(variable.shape) for variable in variables]
    assert _find_in_gradients(net, tf.zeros([]), gradients) == (None, None)
    for site in ("stem", "s0.b0.project", "s0.b0.expand"):
        (place,) = (
            index for index, one in enumerate(variables) if one is net.site_layer(site).kernel
        )
        gradients[place] += np.inf
    site, what = _find_in_gradients(net, tf.zeros([]), gradients)
    assert (site, what) == ("s0.b0.project", "the gradient of kernel:0 of s0.b0.project")
    (place,) = (index for index, one in enumerate(variables) if one is net.precision.beta)
    offsets = np.zeros(variables[place].shape)
    offsets[net.precision.activations_of("head.expand")] = np.nan
    gradients[place] += offsets
    assert _find_in_gradients(net, tf.zeros([]), gradients)[0] == "head.expand"
    assert _find_in_gradients(net, tf.constant(np.inf), gradients)[0] is None


def test_broken_image_in_the_share_of_one_replica(net, batch):
    images, labels = batch
    broken = tf.tensor_scatter_nd_update(images, [[2, 0, 0, 0]], [np.inf])
    found = find_divergence(net, STEP, [batch, (broken, labels)])
    assert (found.what, found.architecture) == ("an image of the batch", None)


def test_training_that_diverges(config, tmp_path, console):
    """Names site and subnet, keeps the checkpoint; no step that is not finite was applied."""
    config.training.steps_per_epoch = 5
    with config.training.ignore_type():
        config.training.learning_rate = (0.05, 0.05, 1e30)  # the last stage begins at step 5
        config.training.warmup_steps = (0, 0, 0)
    workdir = Workdir(tmp_path / "run")
    with pytest.raises(DivergedError, match=r"diverged at step [78]: .* is (nan|inf)\.") as caught:
        train(config, workdir, console)
    assert "The last checkpoint is kept" in str(caught.value)
    assert "Found on repeating the step:" in str(caught.value)
    content = json.loads(workdir.divergence_file.read_text())
    step = content["step"]
    assert f"diverged at step {step}:" in str(caught.value)
    assert content["site"] in str(caught.value)
    assert newest(workdir.checkpoints).name == "ckpt-5"
    assert "steps in a row were not applied." in str(caught.value)
    if content["architecture"] is not None:
        text = Architecture.from_json(json.dumps(content["architecture"])).describe()
        assert text in str(caught.value)
    # The kept checkpoint is a good one.
    assert all(np.isfinite(weight.numpy()).all() for weight in restore(workdir)[0].weights)


def test_checkpoints_never_hold_broken_weights(config, tmp_path, console, monkeypatch):
    """An update can overflow although loss and gradient are finite."""
    config.training.steps_per_epoch = 2
    config.training.probe_epochs = 0
    workdir = Workdir(tmp_path / "run")
    find = TrainingLoop._train_step

    def overflow(loop, batches):
        metrics = find(loop, batches)
        if loop.progress.step == 4:
            loop._net.site_layer("head.expand").gamma.assign(np.full(16, np.inf, np.float32))
        return metrics

    monkeypatch.setattr(TrainingLoop, "_train_step", overflow)
    with pytest.raises(DivergedError, match=r"at step 4: .*weight gamma.* of head\.expand"):
        train(config, workdir, console)
    assert newest(workdir.checkpoints).name == "ckpt-2"
