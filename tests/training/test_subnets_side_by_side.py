"""Several subnets of a step at once: the same numbers, to the last bit."""

import os

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet, QFATraining, TrainingStage
from qfa_tf.training import memory
from quantize_configs import InvalidInputError, use_native_kernels
from quantize_configs.keras_backend import keras
from quantize_configs.native import building, operators

STEPS = 3
needs_compiler = pytest.mark.skipif(building.find_compiler() is None, reason="no C++ compiler")


def trained(space, at_once, distillation, random_subnets, **options):
    """(metrics of each step, weights) after a stage of the largest subnet alone and one of all."""
    keras.utils.set_random_seed(1)
    net = QFASupernet(space)
    recipe = QFATraining(
        stages=(TrainingStage((32,), 1, subnets="largest"), TrainingStage((2, 4))),
        random_subnets=random_subnets,
        distillation=distillation,
    )
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    net.compile(optimizer=optimizer, training=recipe, subnets_at_once=at_once)
    rng = np.random.default_rng(0)
    logs = [
        net.train_on_batch(
            rng.random((8, 16, 16, 1), np.float32), rng.integers(0, 10, 8), return_dict=True
        )
        for _ in range(STEPS)
    ]
    return logs, net.get_weights()


@pytest.mark.parametrize(("distillation", "random_subnets"), [("none", 2), ("in_place", 1)])
@pytest.mark.parametrize(
    ("kernels", "at_once"), [("tensorflow", 2), pytest.param("native", 3, marks=needs_compiler)]
)
def test_results_do_not_depend_on_how_many_run_at_once(
    small_space, distillation, random_subnets, kernels, at_once
):
    if kernels == "native":
        use_native_kernels()
    try:
        alone, several = (
            trained(small_space, number, distillation, random_subnets) for number in (1, at_once)
        )
    finally:
        operators.ignore_native_kernels()
    for before, after in zip(alone[0], several[0], strict=True):
        np.testing.assert_equal(after, before)
    for before, after in zip(alone[1], several[1], strict=True):
        np.testing.assert_array_equal(after, before)


def test_they_stand_in_the_graph_once_and_side_by_side(small_space):
    net = QFASupernet(small_space)
    recipe = QFATraining(stages=(TrainingStage((2, 4)),), random_subnets=2, distillation="none")
    net.compile(optimizer="sgd", training=recipe, subnets_at_once=4)
    net.optimizer.build(net.trainable_variables)
    step = tf.function(net.training_method.step, autograph=False).get_concrete_function(
        tf.TensorSpec([8, 16, 16, 1]), tf.TensorSpec([8], tf.int32)
    )
    library = step.graph.as_graph_def().library.function
    name = net.training_method.subnet_gradients.get_concrete_function().name.decode()
    bodies = [
        [node for node in function.node_def if node.attr["f"].func.name == name]
        for function in library
    ]
    assert [len(body) for body in bodies if body] == [4]
    assert net.trace_counts()["subnet_gradients"] == 1
    for body in bodies:
        for node in body:  # none of them waits for another one
            ends = {one.name for one in body}
            assert not {text.lstrip("^").partition(":")[0] for text in node.input} & ends


def test_behind_a_teacher_none_waits_for_another_one(small_space):
    """The teacher comes first; an odd number of others leaves a place empty."""
    net = QFASupernet(small_space)
    recipe = QFATraining(stages=(TrainingStage((2, 4)),), random_subnets=1, distillation="in_place")
    net.compile(optimizer="sgd", training=recipe, subnets_at_once=2)
    net.optimizer.build(net.trainable_variables)
    step = tf.function(net.training_method.step, autograph=False).get_concrete_function(
        tf.TensorSpec([8, 16, 16, 1]), tf.TensorSpec([8], tf.int32)
    )
    name = net.training_method.subnet_gradients.get_concrete_function().name.decode()
    (nodes,) = (
        function.node_def
        for function in step.graph.as_graph_def().library.function
        if any(node.op in ("If", "StatelessIf") for node in function.node_def)
        and any(node.attr["f"].func.name == name for node in function.node_def)
    )
    (first,) = (node.name for node in nodes if node.attr["f"].func.name == name)
    (second,) = (node for node in nodes if node.op in ("If", "StatelessIf"))
    sources = {node.name: node.input for node in nodes}
    waiting, seen = list(second.input), set()
    while waiting:
        source = waiting.pop().lstrip("^").partition(":")[0]
        if source not in seen:
            seen.add(source)
            waiting += sources.get(source, ())
    assert first not in seen


def test_the_default_is_a_matter_of_cores_and_memory(small_space, monkeypatch):
    needed = memory.needed_memory(small_space, 32, 1000)
    for cores, free, replicas, expected in (
        (1, None, 1, 1),
        (2, None, 1, 1),
        (8, None, 1, 4),
        (8, 1 << 60, 2, 2),
        (8, 2 * needed, 1, 2),
        (8, 4 * needed, 2, 2),
        (8, 0, 1, 1),
    ):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        assert memory.default_subnets_at_once(small_space, 32, replicas, 1000) == expected
    monkeypatch.setattr(memory, "free_memory", lambda: 3 * needed)
    known = memory.default_subnets_at_once(small_space, 32, 1, 1000)
    assert known == 3 > memory.default_subnets_at_once(small_space, None, 1, 1000)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2"])
def test_wrong_numbers_are_refused(small_space, wrong):
    net = QFASupernet(small_space)
    with pytest.raises(InvalidInputError, match="subnets_at_once must be a whole number"):
        net.compile(optimizer="sgd", training=QFATraining(), subnets_at_once=wrong)
