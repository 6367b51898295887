"""The training step under XLA: its numbers, and kernels for all its operators on accelerators."""

import numpy as np
import pytest
import tensorflow as tf
from masked_nets import BITS, batch, largest_difference, pair, short_resnet
from tensorflow.python.framework import kernels

from qfa_tf import QFATraining, TrainingStage
from qfa_tf.training.uniform_numbers import stateless_uniform

pytestmark = pytest.mark.xdist_group("masked")

BATCHES = 3
"""See test_masked_execution.py."""
CALLS = {
    *("PartitionedCall", "StatefulPartitionedCall"),
    *("If", "StatelessIf", "Case", "StatelessCase", "While", "StatelessWhile"),
}
"""Operators that call functions, which XLA walks into itself."""
AROUND = {"Placeholder", "_Arg", "_Retval"}
"""How a function gets its arguments; no kernels."""
XLA_GPU, GPU, ANY = "XLA_GPU_JIT", "GPU", "DEFAULT"


@pytest.fixture(scope="module")
def nets():
    """The sliced net, and the masked one whose step XLA compiles; one step each."""
    training = QFATraining(stages=(TrainingStage((*BITS, 32)),), random_subnets=1, seed=1)
    return pair(short_resnet(), training, {"masked": {"jit_compile": True}})


@pytest.fixture(scope="module")
def compiled(nets):
    """The whole step of the masked net as one function of XLA."""
    return tf.function(nets[1].training_method.step, jit_compile=True, autograph=False)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_random_numbers_are_those_of_tensorflow(jit_compile):
    """A step draws the same subnets with and without XLA, and those it drew before."""
    seed = tf.constant([7, 5], tf.int64)
    draw = tf.function(lambda: stateless_uniform([3, 50, 7], seed), jit_compile=jit_compile)
    np.testing.assert_array_equal(draw(), tf.random.stateless_uniform([3, 50, 7], seed))


def slots(net):
    """What the optimizer made of the gradients."""
    return [value for value in net.optimizer.variables if value.shape.rank]


def test_the_whole_step_has_the_numbers_of_slices(nets, compiled):
    """Figures, weights and momentum after the same subnets."""
    sliced, masked = nets
    plain = tf.function(sliced.training_method.step, autograph=False)
    for net in nets:
        net.optimizer.build(net.trainable_variables)
    before = [value.numpy() for value in sliced.weights]
    for seed in range(BATCHES):
        for net in nets:
            net.optimizer.iterations.assign(0)
            for variable, value in zip(net.weights, before, strict=True):
                variable.assign(value)
            for slot in slots(net):
                slot.assign(tf.zeros_like(slot))
        images, labels = batch(sliced.space, seed)
        expected, found = plain(images, labels), compiled(images, labels)
        assert set(found) == set(expected)
        worst = max(
            largest_difference([found[name] for name in expected], list(expected.values())),
            largest_difference(slots(masked), slots(sliced)),
            largest_difference(masked.weights, sliced.weights),
        )
        if worst <= 1:
            break
    assert worst <= 1
    assert int(masked.optimizer.iterations) == 1
    moved = [
        variable.name
        for variable, value in zip(masked.weights, before, strict=True)
        if np.any(variable != value)
    ]
    assert any("kernel" in name for name in moved)


def test_a_step_that_is_not_finite_is_skipped(nets, compiled):
    """XLA cannot call back to Python, so that no images are noted; the guard holds all the same."""
    masked = nets[1]
    images, labels = batch(masked.space, 0)
    before = [variable.numpy() for variable in masked.weights]
    compiled(images * np.inf, labels)
    assert masked.training_method.guard.settle() == 1
    assert masked.training_method.guard.first is None
    for variable, value in zip(masked.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def operators_of(function, net):
    """Types of the operators of a graph and of all functions that it calls."""
    inputs = (tf.TensorSpec(value.shape, value.dtype) for value in batch(net.space, 0))
    definition = function.get_concrete_function(*inputs).graph.as_graph_def()
    functions = {one.signature.name for one in definition.library.function}
    nodes = [
        *definition.node,
        *(node for one in definition.library.function for node in one.node_def),
    ]
    return {node.op for node in nodes} - functions - CALLS - AROUND


def lacking(operators, devices):
    """Those without a kernel on any of some kinds of devices."""
    tf.function(tf.identity, jit_compile=True)(0.0)  # registers what XLA knows
    return [
        name
        for name in sorted(operators)
        if not devices
        & {one.device_type for one in kernels.get_registered_kernels_for_op(name).kernel}
    ]


def test_every_operator_has_a_kernel_on_accelerators(nets, compiled):
    """The registry of a build of TensorFlow for GPUs tells, without any GPU."""
    operators = operators_of(compiled, nets[1])
    assert {"Conv2D", "QuantizeAndDequantizeV2"} <= operators
    assert lacking(operators, {XLA_GPU}) == []
    if not tf.test.is_built_with_cuda():
        pytest.skip("this TensorFlow has no kernels for GPUs")
    assert lacking(operators, {GPU, ANY}) == []


SHAPES = {"StridedSlice": (1, 2, 3), "Slice": (2,), "Reshape": (1,), "Fill": (0,), "Range": (0, 1)}
"""Operators of which XLA has to know some inputs when it compiles."""


def made_of(tensor):
    """Types of the operators that a tensor of a graph was made by."""
    found, waiting = {}, [tensor.op]
    while waiting:
        operator = waiting.pop()
        if operator.name not in found:
            found[operator.name] = operator.type
            if operator.type not in ("Shape", "Size", "Rank"):  # known without any value
                waiting += [one.op for one in operator.inputs]
    return set(found.values())


def test_no_shape_follows_from_the_number_of_the_step(nets, compiled):
    """XLA would compile every step anew: a variable may be known to it by value."""
    inputs = batch(nets[1].space, 0)
    operators = compiled.get_concrete_function(*inputs).graph.get_operations()
    read = [
        operator.name
        for operator in operators
        for place in SHAPES.get(operator.type, ())
        if "ReadVariableOp" in made_of(operator.inputs[place])
    ]
    assert read == []
    assert any("ReadVariableOp" in made_of(one.outputs[0]) for one in operators if one.outputs)


def test_the_sliced_step_would_not_pass(nets):
    """It locks the gradient of normalization, which only a CPU does."""
    step = tf.function(nets[0].training_method.step, autograph=False)
    assert "MutexLock" in lacking(operators_of(step, nets[0]), {XLA_GPU})
