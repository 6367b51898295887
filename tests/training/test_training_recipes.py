"""External teacher, warm-up of the largest subnet, dropout and bfloat16."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet, QFATraining, TrainingStage
from qfa_tf.space import Head, SearchSpace, Stage, Stem
from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("trained_net")

CLASSES, BATCH = 4, 8


@pytest.fixture(scope="module")
def space():
    return SearchSpace(
        name="tiny",
        resolutions=(8,),
        stem=Stem(8, 3, 1, "relu6"),
        stages=(Stage(8, 2, (1,), (3, 5), (2, 3), "relu6"),),
        head=Head(16, None, "relu"),
        weight_bits=(2, 4),
        activation_bits=(2, 4),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=CLASSES,
    )


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(size=(BATCH, 8, 8, 1)), tf.float32)
    return images, tf.constant(rng.integers(0, CLASSES, BATCH), tf.int32)


def teacher(images):
    """Logits that depend on the images alone."""
    means = tf.reduce_mean(images, [1, 2, 3])
    return means[:, None] * tf.constant([4.0, 0.0, -2.0, 1.0])


@pytest.fixture(scope="module")
def net(space):
    """Two steps of the largest subnet in float, then quantized ones, with an external teacher."""
    keras.utils.set_random_seed(2)
    net = QFASupernet(space, dropout=0.5)
    recipe = QFATraining(
        stages=(TrainingStage((32,), 2, "largest"), TrainingStage((2, 4))),
        random_subnets=1,
        distillation="external",
        distillation_weight=0.7,
        teacher=teacher,
        weight_decay=0.0,
        clip_norm=1e9,
        seed=4,
    )
    net.compile(optimizer=keras.optimizers.SGD(0.05), training=recipe)
    return net


def gradients_of(net, batch, genome, share, row=0, step=0):
    method = net.training_method
    seed = method.dropout_seed(tf.constant(step, tf.int64), row, 0)
    images, labels = batch
    known = teacher(images)
    return method.subnet_gradients(images, labels, genome, known, tf.constant(share), seed)


def test_stages_subnets_and_teacher(net, space, batch):
    method, variables = net.training_method, net.trainable_variables
    assert method.roles == ("smallest", "largest", "random")
    assert method.roles_in_stage(0) == ("largest",)
    largest = space.encode(space.largest(bits=32))
    np.testing.assert_array_equal(method.genomes(tf.constant(0, tf.int64))[1], largest)
    assert (method.genomes(tf.constant(2, tf.int64)).numpy()[1] != largest).any()

    before = [variable.numpy() for variable in variables]
    loss, logits, gradients = gradients_of(net, batch, largest, 0.7, row=1)
    targets = tf.one_hot(batch[1], CLASSES) * 0.9 + 0.1 / CLASSES
    targets += 0.7 * tf.nn.softmax(teacher(batch[0]))
    by_hand = -tf.reduce_sum(targets * tf.nn.log_softmax(logits), -1)
    assert float(loss) == pytest.approx(float(tf.reduce_mean(by_hand)), rel=1e-6)

    step = net.make_train_function()
    data = iter(tf.data.Dataset.from_tensors(batch).repeat())
    logs = {key: float(value) for key, value in step(data).items()}
    assert logs["largest_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert np.isnan([logs["smallest_loss"], logs["random_accuracy"]]).all()
    for variable, old, gradient in zip(variables, before, gradients, strict=True):
        expected = old - 0.05 * gradient.numpy()
        if "gamma" in variable.name:
            expected = np.maximum(expected, 1e-3)
        if variable is net.precision.step:
            expected = np.abs(expected)  # a step is used, and kept, by its magnitude
        np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-6)

    step(data)
    stale = net.precision.step.numpy()
    method.begin_step(1)
    np.testing.assert_array_equal(net.precision.step, stale)
    method.begin_step(2)  # the first quantized one: the first steps for the trained weights
    layer = net.site_layer("head.expand")
    expected = layer.initial_steps()[layer.weight_quantizer.bit_widths.choices.index(4)]
    assert net.precision.weight_step("head.expand", 4) == pytest.approx(expected, rel=1e-5)
    assert (net.precision.step.numpy() != stale).any()
    assert all(np.isfinite(float(value)) for value in step(data).values())


@pytest.mark.parametrize("wrap", [list, keras.callbacks.CallbackList])
def test_fit_tells_where_each_step_begins(net, batch, monkeypatch, wrap):
    begun = []
    monkeypatch.setattr(net.training_method, "begin_step", begun.append)
    first = int(net.optimizer.iterations)
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    net.fit(dataset, steps_per_epoch=2, verbose=0, callbacks=wrap([]))
    assert begun == [first, first + 1]


def test_dropout_follows_its_seed(net, space, batch):
    genome = space.encode(space.largest(bits=4))
    first, again, other_step, other_row = (
        gradients_of(net, batch, genome, 0.7, row, step)[1].numpy()
        for row, step in ((0, 5), (0, 5), (0, 6), (1, 5))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other_step).any()
    assert (first != other_row).any()
    method = net.training_method
    seeds = {tuple(method.dropout_seed(7, 1, replica).numpy()) for replica in range(4)}
    assert len(seeds) == 4  # each replica drops others
    net.dropout, dropout = 0.0, net.dropout
    try:
        without, _ = net.run_subnet(_train_mode(), batch[0], tf.constant(genome))
    finally:
        net.dropout = dropout
    assert (first != without.numpy()).any()


@pytest.mark.usefixtures("eager_functions")
def test_bfloat16_stays_close_to_float32(net, space, batch):
    keras.utils.set_random_seed(2)
    low = QFASupernet(space)
    recipe = dataclasses.replace(net.training_method.recipe, compute_dtype="bfloat16")
    low.compile(optimizer=keras.optimizers.SGD(0.05), training=recipe)
    for target, source in zip(low.weights, net.weights, strict=True):
        target.assign(source)
    genome = space.encode(space.largest(bits=4))
    loss, logits, gradients = gradients_of(low, batch, genome, 0.7)
    assert loss.dtype == logits.dtype == tf.float32
    assert {weight.dtype for weight in low.trainable_variables} == {tf.float32}
    assert {gradient.dtype for gradient in gradients} == {tf.float32}
    exact, _ = low.run_subnet(_train_mode(), batch[0], tf.constant(genome))
    np.testing.assert_allclose(logits, exact, atol=0.2)
    assert np.abs(logits - exact).max() > 0  # it did compute in another dtype
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_wrong_recipes():
    with pytest.raises(ValueError, match="distillation must be one of"):
        QFATraining(distillation="self")
    with pytest.raises(ValueError, match="needs a teacher"):
        QFATraining(distillation="external").bind(types.SimpleNamespace(model_start=None))
    with pytest.raises(ValueError, match="nothing else does"):
        QFATraining(teacher=teacher)
    with pytest.raises(ValueError, match="compute_dtype must be one of"):
        QFATraining(compute_dtype="float16")
    with pytest.raises(ValueError, match="float warm-up"):
        TrainingStage((2, 4), 3, "largest")
    with pytest.raises(ValueError, match="subnets must be one of"):
        TrainingStage((32,), 3, "smallest")


def _train_mode():
    from qfa_tf.layers import Mode

    return Mode.TRAIN


@pytest.mark.usefixtures("eager_functions")
def test_teacher_of_other_classes_is_refused(space, batch):
    net = QFASupernet(space)
    recipe = QFATraining(
        stages=(TrainingStage((2, 4)),),
        distillation="external",
        teacher=lambda images: tf.zeros([tf.shape(images)[0], CLASSES + 1]),
    )
    net.compile(optimizer="sgd", training=recipe)
    with pytest.raises(InvalidInputError, match=r"logits \[N, 4\].*Received: \[8, 5\]"):
        net.train_on_batch(*batch)
