"""The phases of OQA in Python: what is allowed, and three phases in a row."""

import numpy as np
import pytest

from qfa_tf import OQATraining, QFASupernet, QFATraining, TrainingStage
from qfa_tf.data import training_batches
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("learned_grids")


def supernet(space, *bits, **options):
    bits = bits or (2, 3, 4, 8)
    space = space.replace(name=f"w{bits}", weight_bits=bits, activation_bits=bits)
    options = {"activation_quantizer": "lsq", "shared_step": True} | options
    return QFASupernet(space, **options)


def test_a_phase_has_one_bit_width():
    assert OQATraining().bits == 4
    two = (TrainingStage((32,), 10, "largest"), TrainingStage((32,)))
    assert OQATraining(stages=two).bits == 32
    for stages in (((3, 4),), ((4,), (3,)), ((32,), (4,))):
        stages = [TrainingStage(bits, 10) for bits in stages]
        with pytest.raises(ValueError, match="one bit-width"):
            OQATraining(stages=stages)
    with pytest.raises(ValueError, match="inheritance must be one of"):
        OQATraining(inheritance="halve")


@pytest.mark.parametrize(
    ("bits", "options", "message"),
    [
        ((4,), {"activation_quantizer": "batch"}, "activation_quantizer='lsq'"),
        ((4,), {"shared_step": False}, "shared_step=True"),
        ((3, 4), {}, r"weight_bits=\(4,\).*Received: .* with \[3, 4\] bits"),
    ],
)
def test_unfit_supernets_are_refused(small_space, bits, options, message):
    net = supernet(small_space, *bits, **options)
    with pytest.raises(ValueError, match=message):
        net.compile(optimizer=keras.optimizers.SGD(0.1), training=OQATraining())


@pytest.mark.usefixtures("eager_functions")
def test_phases_in_a_row(small_space, small_digits):
    """Each starts from the one before; steps double, and are trained then."""
    keras.utils.set_random_seed(5)
    options = {"random_subnets": 0, "clip_norm": 5.0, "distillation": "none"}
    dataset = training_batches(small_digits.train, 32, seed=0)
    parent = None
    for bits in (32, 4, 3):
        net = supernet(small_space, *([] if bits == 32 else [bits]))
        training = OQATraining(stages=(TrainingStage((bits,)),), **options)
        if parent is not None:
            training.start_from(parent, net)
        if bits == 3:
            first = net.precision.activation_step.numpy()
            sites = [site for site in net.space.sites if site.name not in small_space.fixed_bits]
            for site in sites:
                step, _ = parent.precision.activation_parameters(site.name, 4)
                assert net.precision.activation_parameters(site.name, 3)[0] == 2 * abs(step)
                assert net.precision.weight_step(site.name, 3) == (
                    2 * parent.precision.weight_step(site.name, 4)
                )
        # The float phase learned nothing about 4 bits, but the fixed 8 bits of the stem.
        started = net.precision.activation_started.numpy()
        assert started.any() == (parent is not None)
        assert started.all() == (bits == 3)
        net.compile(optimizer=keras.optimizers.SGD(0.02, momentum=0.9), training=training)
        net.fit(dataset, steps_per_epoch=4, epochs=1, verbose=0)
        assert not net.precision.unstarted.any()
        assert all(np.isfinite(weight.numpy()).all() for weight in net.weights)
        parent = net
    assert (net.precision.activation_step.numpy() != first).mean() > 0.5
    assert net.space.size() < small_space.size()


def test_grids_start_from_images_that_can_be_read_ahead(small_space, small_digits):
    """A stage of floats first: everything starts anew where quantization begins."""
    keras.utils.set_random_seed(5)
    net = supernet(small_space, shared_step=False)
    stages = (TrainingStage((32,), 2), TrainingStage((2, 3, 4, 8)))
    recipe = QFATraining(stages=stages, random_subnets=0, distillation="none")
    net.compile(optimizer=keras.optimizers.SGD(0.02), training=recipe)
    method = net.training_method
    with pytest.raises(RuntimeError, match=r"tf\.data\.Dataset"):
        method.begin_step(0)
    images = small_digits.train.read_images()[:8]
    asked = []
    method.image_source = lambda step: asked.append(step) or images
    for step in range(4):
        method.begin_step(step)
    assert asked == [0, 2]
    before = net.precision.activation_step.numpy()
    net.precision.activation_step.assign(before * 2)
    method.begin_step(1)
    np.testing.assert_array_equal(net.precision.activation_step, before * 2)
    method.begin_step(2)
    np.testing.assert_array_equal(net.precision.activation_step, before)
