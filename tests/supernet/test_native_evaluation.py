"""Passes without gradients on native kernels: the same bits, from graphs of their own."""

import contextlib
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from masked_nets import SPACES

from qfa_tf import QFASupernet, SearchSpace
from qfa_tf.supernet.tasks import Classes
from quantize_configs.errors import StateError
from quantize_configs.keras_backend import keras
from quantize_configs.native import building, operators
from quantize_configs.native.operators import (
    native_kernels_at_hand,
    native_operators,
    without_native_kernels,
)

needs_compiler = pytest.mark.skipif(building.find_compiler() is None, reason="no C++ compiler")


@pytest.fixture
def at_hand(monkeypatch):
    building.build()
    monkeypatch.setattr(operators, "_operators_at_hand", operators._new_operators)
    yield
    operators.ignore_native_kernels()


@pytest.fixture
def graphs_as_written():
    """As in the programs: rewriting moves the sixth of a hard-swish, and its last bit."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": before.get("disable_meta_optimizer", False)}
    )


def measured(space, images, kernels, **options):
    """(statistics, outputs) of subnets of an untrained supernet, with kernels in a context."""
    keras.utils.set_random_seed(1)
    net = QFASupernet(space, **options)
    if net.activation_quantizer != "batch":
        net.start_activations(images)
    rng = np.random.default_rng(3)
    found = []
    for architecture in (space.smallest(bits=2), space.largest(bits=8), space.sample(rng)):
        with kernels():
            calibration = net.calibrate([images], architecture)
            outputs = net(images, genome=architecture, calibration=calibration)
        found += [np.asarray(calibration.statistics), np.asarray(outputs)]
    return found


@needs_compiler
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"estimator": "sample_mean"},
        {"activation_quantizer": "lsq_plus"},
        {"zero_point": "fractional"},
    ],
)
def test_evaluation_is_the_same_to_the_last_bit(small_space, at_hand, options):
    images = tf.random.stateless_uniform([32, 16, 16, 1], [0, 1])
    expected = measured(small_space, images, contextlib.nullcontext, **options)
    found = measured(small_space, images, native_kernels_at_hand, **options)
    with native_kernels_at_hand():
        assert native_operators() is not None
    assert native_operators() is None
    for here, there in zip(found, expected, strict=True):
        np.testing.assert_array_equal(here, there)


@needs_compiler
@pytest.mark.parametrize("family", sorted(SPACES))
def test_every_family_is_evaluated_to_the_last_bit(at_hand, graphs_as_written, family):
    space = SPACES[family]()
    size = space.resolutions[0]
    images = tf.random.stateless_uniform([16, size, size, space.input_channels], [0, 1])
    expected = measured(space, images, contextlib.nullcontext)
    found = measured(space, images, native_kernels_at_hand)
    for here, there in zip(found, expected, strict=True):
        np.testing.assert_array_equal(here, there)


@needs_compiler
def test_pixels_that_are_no_numbers_are_told(at_hand, graphs_as_written):
    """Without normalization, extremes alone see them."""
    layers = keras.layers
    model = keras.Sequential([
        layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ])  # fmt: skip
    space = SearchSpace.from_model(model)
    images = np.random.default_rng(0).random((8, 8, 8, 1), np.float32)
    images[5, 2, 2] = np.nan
    net = QFASupernet(space)
    with native_kernels_at_hand(), pytest.raises(StateError, match="not finite"):
        net.calibrate([images], space.largest(bits=8))


def test_what_grades_answers_goes_with_its_task():
    task = Classes(3)
    hits, loss = task.grade(tf.constant([0, 2]), tf.constant([[9.0, 0, 0], [9.0, 0, 0]]))
    assert hits.numpy().tolist() == [1, 0]
    np.testing.assert_allclose(loss, 9.0, atol=1e-2)
    gone = weakref.ref(task.grade)
    del task
    gc.collect()
    assert gone() is None


@needs_compiler
def test_what_was_chosen_before_stays(at_hand):
    operators.use_native_kernels()
    with native_kernels_at_hand():
        pass
    assert native_operators() is not None
    with without_native_kernels():
        with native_kernels_at_hand():
            assert native_operators() is None
        assert native_operators() is None
    assert native_operators() is not None


def test_without_them_nothing_changes(monkeypatch):
    monkeypatch.setattr(operators, "_operators_at_hand", lambda: None)
    with native_kernels_at_hand():
        assert native_operators() is None
