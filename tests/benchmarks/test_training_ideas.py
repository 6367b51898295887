"""The ideas that `equal_steps.py` tries, on a network of a few steps."""

import numpy as np
import pytest
import site_ideas
import tensorflow as tf
import training_ideas as ideas

from qfa_tf import QFASupernet, QFATraining, SearchSpace, TrainingStage
from qfa_tf.layers import Mode
from quantize_configs.keras_backend import keras

STAGES = (TrainingStage((2, 3, 4)),)


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(0)
    return QFASupernet(SearchSpace.from_preset("digits_tiny"))


def changed(net, change, step=0.0, total=4):
    """(by the `ref` of its variable, the gradients of ones that `change` makes)."""
    variables = net.trainable_variables
    ones = [tf.ones(variable.shape) for variable in variables]
    found = change(net, total)(ones, variables, tf.constant(step))
    return {variable.ref(): one.numpy() for variable, one in zip(variables, found, strict=True)}


def test_grids_learn_slower_by_bits(net):
    found = changed(net, ideas.slower_grids({2: 0.25, 3: 0.5}))
    precision = net.precision
    for name, site in precision.sites.items():
        if site.weight is None:
            continue
        factors = [{2: 0.25, 3: 0.5}.get(bits, 1.0) for bits in site.weight.bit_widths.choices]
        steps = found[precision.step.ref()][precision.steps_of(name)]
        np.testing.assert_array_equal(steps, factors * len(site.kernel_sizes))
    others = {variable.ref() for variable in net.trainable_variables}
    others -= {precision.step.ref()}
    others -= {getattr(precision, role).ref() for role in precision.activation_roles}
    assert all((found[other] == 1.0).all() for other in others)


def test_codes_attract_by_the_gradient_of_the_distance(net):
    """2 (w - code) inside the grid, at the end of the training by the whole weight."""
    found = changed(net, ideas.penalty(ideas.distance_from_codes, 0.5), step=4.0)
    site = next(iter(net.space.network.sites)).name
    layer = net.site_layer(site)
    size = net.precision.weight_step(site, min(layer.weight_quantizer.bit_widths.choices))
    low, high = layer.weight_quantizer.limits(min(layer.weight_quantizer.bit_widths.choices))
    kernel = layer.kernel.numpy()
    inside = (kernel > low * size) & (kernel < high * size)
    expected = 1.0 + 0.5 * 2.0 * inside * (kernel - np.rint(kernel / size) * size)
    np.testing.assert_allclose(found[layer.kernel.ref()], expected, rtol=1e-5, atol=1e-6)
    at_first = changed(net, ideas.penalty(ideas.distance_from_codes, 0.5), step=0.0)
    assert (at_first[layer.kernel.ref()] == 1.0).all()


def test_flat_weights_are_at_rest():
    """A kernel whose kurtosis is that of a uniform distribution pays nothing, others do."""
    uniform = tf.constant(np.linspace(-1, 1, 20001), tf.float32)
    normal = tf.constant(np.random.default_rng(0).normal(size=20000), tf.float32)
    assert float(ideas.far_from_uniform(uniform, 1.0, (-2, 1))) == pytest.approx(0, abs=1e-4)
    assert float(ideas.far_from_uniform(normal, 1.0, (-2, 1))) == pytest.approx(1.44, abs=0.3)


def test_few_bits_rest_at_depthwise_sites(net):
    recipe = ideas.TrainingIdea(STAGES, distillation="none", least_depthwise_bits=3)
    genomes = recipe.bind(net).genomes(tf.constant(0, tf.int64)).numpy()
    depthwise = ideas.depthwise_bits(net.space)
    assert genomes[:, depthwise].min() >= 3
    assert (genomes[:, ~depthwise] == 2).any()


@pytest.mark.parametrize("ends", ["free_bits", "random"])
def test_ends_of_the_sandwich(net, ends):
    """They differ from those of the library where their genes are free, the others never do."""
    step = tf.constant(3, tf.int64)
    recipes = (
        ideas.TrainingIdea(STAGES, distillation="none", ends=one) for one in ("sandwich", ends)
    )
    before, after = (recipe.bind(net).genomes(step).numpy() for recipe in recipes)
    np.testing.assert_array_equal(before[2:], after[2:])
    differ = (before[:2] != after[:2]).any(0)
    assert differ.any()
    if ends == "free_bits":
        assert not differ[[not gene.is_bits for gene in net.space.genes]].any()
    bits = [gene.column for gene in net.space.genes if gene.is_bits]
    assert len(np.unique(after[0, bits])) > len(np.unique(before[0, bits])) == 1


@pytest.mark.parametrize(("step", "rests"), [(4, False), (6, True), (9, False)])
def test_sites_rest_for_a_while(net, step, rests):
    without = ideas.TrainingIdea(STAGES, distillation="none").bind(net)
    recipe = ideas.TrainingIdea(STAGES, distillation="none", rested=0.5, steps=10)
    step = tf.constant(step, tf.int64)
    before, after = (one.genomes(step).numpy() for one in (without, recipe.bind(net)))
    assert (before != after).any() == rests
    assert set(after[before != after]) <= {3}


def test_bits_weigh(net):
    """The gradient of a subnet of 2 bits counts two thirds, and less by its exponent."""
    images = tf.constant(np.random.default_rng(0).random((4, 8, 8, 1)), tf.float32)
    labels = tf.constant([0, 1, 2, 3])
    genome = net.space.encode(net.space.smallest(bits=2))
    logits = tf.zeros([4, net.heads.size])
    found = []
    for exponent in (0.0, 1.0):
        recipe = ideas.TrainingIdea(STAGES, distillation="none", by_bits=exponent)
        bound = recipe.bind(net)
        _, _, gradients = bound._subnet_gradients(
            images, labels, tf.constant(genome, tf.int32), logits, tf.zeros([]), None
        )
        found.append(gradients[0].numpy())
    np.testing.assert_allclose(found[1], found[0] * 2 / 3, rtol=1e-4, atol=1e-7)


def batch(net):
    rng = np.random.default_rng(0)
    size = net.space.resolutions[-1]
    images = rng.uniform(size=(8, size, size, net.space.input_channels)).astype(np.float32)
    return images, rng.integers(0, 10, 8).astype(np.int32)


def test_changed_gradients_are_applied():
    """In the graph of a step, where some of them are made and others are only handed on."""
    keras.utils.set_random_seed(0)
    net = QFASupernet(SearchSpace.from_preset("digits_tiny"))
    changes = ideas.slower_grids({2: 0.0, 3: 0.0, 4: 0.0, 8: 0.0})(net, 4)
    training = QFATraining(stages=STAGES, random_subnets=0, distillation="none")
    net.compile(ideas.GradientTerms(0.1, changed=changes), training=training)
    steps = net.precision.step.numpy()
    kernel = net.site_layer(next(iter(net.space.network.sites)).name).kernel
    before = kernel.numpy()
    net.train_on_batch(*batch(net))
    np.testing.assert_array_equal(net.precision.step, steps)
    assert np.abs(kernel.numpy() - before).max() > 0.0


def test_steps_of_channels_start_as_those_of_tensors_and_learn_apart():
    keras.utils.set_random_seed(0)
    space = SearchSpace.from_preset("digits_tiny")
    net = QFASupernet(space)
    images, labels = batch(net)
    genome = tf.constant(space.encode(space.largest(bits=3)), tf.int32)
    expected, _ = net.run_subnet(Mode.TRAIN, tf.constant(images), genome)
    site_ideas.steps_of_channels(net)
    found, _ = net.run_subnet(Mode.TRAIN, tf.constant(images), genome)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    training = QFATraining(stages=STAGES, random_subnets=0, distillation="none")
    net.compile(keras.optimizers.SGD(0.1), training=training)
    net.train_on_batch(images, labels)
    learned = [one for one in net.trainable_variables if "channel_steps" in one.name]
    assert len(learned) == sum(
        net.site_layer(site.name).weight_quantizer.bit_widths.is_elastic
        for site in space.network.sites
        if net.site_layer(site.name).weight_quantizer is not None
    )
    for variable in learned:
        used = variable.numpy()[:2]  # 2 and 4 bits, those of smallest and largest
        assert np.unique(np.abs(used)).size > 2


def test_sites_are_drawn_to_what_they_put_out_in_float():
    y, target = tf.constant([[1.0, 2.0]]), tf.constant([[0.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch((y, target))
        found = site_ideas._drawn(y, target, 0.5)
    np.testing.assert_array_equal(found, y)
    gradients = tape.gradient(found, (y, target), output_gradients=tf.ones_like(y))
    np.testing.assert_allclose(gradients[0], [[1.5, 0.0]])  # 1 + 2 * 0.5 / 2 * (y - target)
    assert gradients[1] is None or not np.any(gradients[1])
    keras.utils.set_random_seed(0)
    net = QFASupernet(SearchSpace.from_preset("digits_tiny"))
    site_ideas.matched_sites(0.1)(net)
    training = QFATraining(stages=STAGES, random_subnets=0, distillation="none")
    net.compile(keras.optimizers.SGD(0.1), training=training)
    metrics = net.train_on_batch(*batch(net), return_dict=True)
    assert np.isfinite(metrics["gradient_norm"])
