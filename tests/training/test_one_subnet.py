"""Training one subnet alone: what a step trains, and what it leaves as it is."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import OQATraining, QFASupernet, QFATraining, TrainingStage
from qfa_tf.space import Architecture, ArchitectureError
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("trained_net")

RATE, DECAY = 1e-2, 0.5
BITS = {"s1.b0.expand": (4, 8), "s1.b0.depthwise": (8, 4), "head.mix": (2, 3)}


@pytest.fixture(scope="module")
def architecture(small_space):
    """One block per stage, narrow, with kernels out of the centre, and mixed bits."""
    smallest = small_space.smallest(bits=4)
    bits = tuple((site, *BITS.get(site, pair)) for site, *pair in smallest.bits)
    return Architecture(smallest.space, smallest.resolution, smallest.stages, bits)


@pytest.fixture(scope="module")
def net(small_space, architecture):
    keras.utils.set_random_seed(1)
    net = QFASupernet(small_space)
    recipe = QFATraining(
        stages=(TrainingStage((32,), 1, "largest"), TrainingStage((8,), 1), TrainingStage((32,))),
        architecture=architecture,
        random_subnets=5,
        weight_decay=DECAY,
        clip_norm=1e9,
    )
    net.compile(optimizer=keras.optimizers.SGD(RATE), training=recipe)
    return net


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(1)
    images = tf.constant(rng.uniform(size=(8, 16, 16, 1)), tf.float32)
    return images, tf.constant(rng.integers(0, 10, 8), tf.int32)


@pytest.mark.parametrize("distillation", ["in_place", "none", "external"])
def test_genomes_and_roles(net, small_space, architecture, distillation):
    teacher = abs if distillation == "external" else None
    stages = (TrainingStage((32,), 2, "largest"), TrainingStage((2, 3), 1), TrainingStage((8, 32)))
    recipe = QFATraining(
        stages=stages, architecture=architecture, distillation=distillation, teacher=teacher
    )
    method = recipe.bind(net)
    twin = small_space.float_twin(architecture)
    assert (twin.stages, twin.resolution) == (architecture.stages, architecture.resolution)
    assert twin.site_bits["s1.b0.expand"] == (32, 32)
    assert twin.site_bits["stem"] == (8, 8)
    in_place = distillation == "in_place"
    assert method.roles == ("teacher",) * in_place + ("subnet",)
    assert method.roles_in_stage(0) == ("subnet",)
    assert method.roles_in_stage(1) == method.roles_in_stage(2) == method.roles
    for step in range(5):
        genomes = method.genomes(tf.constant(step, tf.int64)).numpy()
        wanted = [twin] * in_place + [twin if step < 2 else architecture]
        np.testing.assert_array_equal(genomes, [small_space.encode(one) for one in wanted])


def test_float_subnet_has_no_teacher(net, small_space, architecture):
    twin = small_space.float_twin(architecture)
    method = QFATraining(stages=(TrainingStage((2, 4)),), architecture=twin).bind(net)
    assert method.roles_in_stage(0) == ("subnet",)
    assert float(method.share(0)) == 0.0


def unused(net):
    """By variable, a mask of the elements that the subnet cannot touch."""
    bank, masks = net.precision, {}
    for site in net.space.sites:
        layer = net.site_layer(site.name)
        for variable in layer.trainable_weights:
            masks[variable.ref()] = np.full(variable.shape, site.name.startswith("s1.b1."))
    mid = net.space.mid_width(1, 0, 2)
    expand, depthwise, project = (
        net.site_layer(f"s1.b0.{part}") for part in ("expand", "depthwise", "project")
    )
    masks[expand.kernel.ref()][:, mid:] = True
    masks[project.kernel.ref()][mid:] = True
    for layer in (expand, depthwise):
        for variable in (layer.gamma, layer.beta):
            masks[variable.ref()][mid:] = True
    masks[depthwise.kernel.ref()][:, :, mid:] = True
    masks[depthwise.kernel.ref()][[0, -1]] = True
    masks[depthwise.kernel.ref()][:, [0, -1]] = True
    for variable in bank.trainable_weights:
        masks[variable.ref()] = np.ones(variable.shape, bool)
    for site, weight_bits, activation_bits in net.training_method.recipe.architecture.bits:
        quantizers = bank.sites[site]
        for variable, place, quantizer, bits in (
            (bank.step, bank.steps_of(site), quantizers.weight, weight_bits),
            (bank.theta, bank.activations_of(site), quantizers.activation, activation_bits),
        ):
            # Parameters of the smallest kernel come first.
            choices = quantizer.bit_widths.choices
            masks[variable.ref()][place][choices.index(bits)] = False
    return masks


def test_only_its_weights_have_gradients(net, small_space, architecture, batch):
    images, labels = batch
    genome = small_space.encode(architecture)
    _, _, gradients = net.training_method.subnet_gradients(
        images, labels, genome, tf.zeros([8, 10]), tf.zeros([]), tf.zeros([2], tf.int64)
    )
    masks = unused(net)
    for variable, gradient in zip(net.trainable_variables, gradients, strict=True):
        mask = masks[variable.ref()]
        assert not gradient.numpy()[mask].any(), variable.name
        if not mask.all():
            assert gradient.numpy()[~mask].any(), variable.name


def test_steps_follow_the_stages(net, batch):
    """A float step, one with its float twin as teacher, and a float one; one trace for all."""
    method = net.training_method
    step = net.make_train_function().function  # without the start of quantizers between stages
    data = iter(tf.data.Dataset.from_tensors(batch).repeat())
    masks = unused(net)
    decayed = {weight.ref() for weight in net.decayed_weights}
    before = [variable.numpy() for variable in net.trainable_variables]
    logs = [{key: float(value) for key, value in step(data).items()} for _ in range(3)]
    assert [np.isnan(one["teacher_loss"]) for one in logs] == [True, False, True]
    assert all(np.isfinite([one["subnet_loss"], one["gradient_norm"]]).all() for one in logs)
    assert method.subnet_gradients.experimental_get_tracing_count() == 1
    for variable, old in zip(net.trainable_variables, before, strict=True):
        mask = masks[variable.ref()]
        kept = (1 - RATE * DECAY) ** 3 if variable.ref() in decayed else 1.0
        np.testing.assert_allclose(variable.numpy()[mask], kept * old[mask], rtol=1e-5)
        if not mask.all():
            assert (variable.numpy()[~mask] != old[~mask]).any(), variable.name


def test_oqa_phase(small_space, architecture):
    """Its bits check holds; the bits of the phase leave no other network as a teacher."""
    space = small_space.replace(name="small_w4", weight_bits=(4,), activation_bits=(4,))
    options = {"activation_quantizer": "lsq", "shared_step": True}
    net = QFASupernet(space, **options)
    method = OQATraining(architecture=space.smallest()).bind(net)
    assert method.roles_in_stage(0) == ("subnet",)
    with pytest.raises(ArchitectureError, match="belongs to space 'small', this space is"):
        net.compile(
            optimizer=keras.optimizers.SGD(0.1), training=OQATraining(architecture=architecture)
        )
    with pytest.raises(ValueError, match="needs a space with these bits alone"):
        OQATraining(stages=(TrainingStage((3,)),), architecture=space.smallest()).bind(net)
    with pytest.raises(TypeError, match="must be an Architecture"):
        QFATraining(architecture=architecture.to_json())


def test_grids_start_from_what_the_subnet_reads(small_space, architecture, batch):
    net = QFASupernet(small_space, activation_quantizer="lsq")
    net.start_activations(batch[0])
    of_largest = {site.name: values_of(net, site.name) for site in small_space.sites}
    net.start_activations(batch[0], replace=True, architecture=architecture)
    for site, before in of_largest.items():
        same = values_of(net, site) == before
        assert same == (site.startswith("s1.b1.")), site
    assert not net.precision.unstarted.any()


def values_of(net, site):
    bits = net.precision.sites[site].activation.bit_widths.choices[-1]
    return net.precision.activation_parameters(site, bits)


def test_only_its_quantizers_are_inherited(net, small_space, architecture):
    """Others were not trained; they start anew."""
    from qfa_tf.supernet.inheritance import inherit

    source, target = QFASupernet(small_space), QFASupernet(small_space)
    bank = source.precision
    for vector in (bank.step, bank.theta, bank.beta):
        vector.assign(np.arange(1, 1 + vector.shape[0]) / 64)
    inherit(source, target, "equal_bits", architecture)
    fresh = target.precision.weight_step("head.mix", 8)
    site = "head.mix"  # 2-bit weights, 3-bit inputs
    assert target.precision.weight_step(site, 2) == bank.weight_step(site, 2)
    assert target.precision.activation_parameters(site, 3) == bank.activation_parameters(site, 3)
    first = QFASupernet(small_space).precision.activation_parameters(site, 2)
    assert target.precision.activation_parameters(site, 2) == first
    assert fresh != bank.weight_step(site, 8)
    assert target.precision.weight_step("s1.b1.expand", 4) != bank.weight_step("s1.b1.expand", 4)
    assert target.precision.weight_step("stem", 8) == bank.weight_step("stem", 8)
    # The training that a net was compiled with tells the same.
    source.compile(
        optimizer=keras.optimizers.SGD(0.1),
        training=QFATraining(stages=(TrainingStage((8,)),), architecture=architecture),
    )
    again = QFASupernet(small_space)
    inherit(source, again, "equal_bits")
    np.testing.assert_array_equal(again.precision.theta, target.precision.theta)
