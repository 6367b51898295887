"""The gradient of batch normalization in a supernet runs one at a time."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf.layers.arithmetic import FastArithmetic


@tf.function(input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None])], autograph=False)
def gradients(x, gamma):
    with tf.GradientTape() as tape:
        tape.watch((x, gamma))
        y, *_ = FastArithmetic().normalize_batch(x, gamma, gamma, 1e-2, False, True)
        loss = tf.reduce_sum(y * x)
    return tape.gradient(loss, (x, gamma))


def test_gradient_waits_for_its_turn():
    """The kernel of oneDNN is not safe to run twice at once."""
    graph = gradients.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    inputs = {node.name: [name.lstrip("^").split(":")[0] for name in node.input] for node in nodes}
    kinds = {node.name: node.op for node in nodes}

    def comes_after(name: str, kind: str) -> bool:
        return any(
            kinds.get(before) == kind or comes_after(before, kind)
            for before in inputs.get(name, ())
        )

    found = [name for name, kind in kinds.items() if kind == "FusedBatchNormGradV3"]
    assert found
    assert all(comes_after(name, "MutexLock") for name in found)
    released = [name for name, kind in kinds.items() if kind == "ConsumeMutexLock"]
    assert len(released) == len(found)
    assert all(comes_after(name, "FusedBatchNormGradV3") for name in released)


def test_chains_and_branches_do_not_wait_for_each_other():
    """A lock that is taken before its gradient can run would keep the one it waits for waiting."""

    @tf.function(autograph=False)
    def forward(x):
        gamma = tf.ones([4])
        for _ in range(4):
            branches = [
                FastArithmetic().normalize_batch(x * factor, gamma, gamma, 1e-2, False, True)[0]
                for factor in (1.0, 2.0, 3.0)
            ]
            x = tf.add_n(branches)
        return tf.reduce_sum(x * x)

    x = tf.random.stateless_normal([2, 3, 3, 4], [0, 1])
    for _ in range(20):
        with tf.GradientTape() as tape:  # its backward pass is a function without an order
            tape.watch(x)
            loss = forward(x)
        assert np.isfinite(tape.gradient(loss, x)).all()


def test_gradients_are_those_of_the_formula():
    x = tf.random.stateless_normal([2, 3, 3, 4], [0, 1])
    gamma = tf.constant([0.5, 1.0, 1.5, 2.0])
    with tf.GradientTape() as tape:
        tape.watch((x, gamma))
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        y = (x - mean) * tf.math.rsqrt(variance + 1e-2) * gamma + gamma
        loss = tf.reduce_sum(y * x)
    for ours, expected in zip(gradients(x, gamma), tape.gradient(loss, (x, gamma)), strict=True):
        tf.debugging.assert_near(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_gradients_survive_two_threads():
    script = pathlib.Path(__file__).parents[2] / "scripts" / "stress_normalization.py"
    command = [sys.executable, script, "normalization", "supernet", "--trials", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
