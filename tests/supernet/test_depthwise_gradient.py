"""The kernel gradient of the depthwise convolution, computed a few columns at a time."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf.layers.depthwise import depthwise_convolution

SIZES = (3, 5, 7, 9)


@pytest.mark.parametrize("shape", [(2, 8, 11, 3), (1, 7, 7, 4), (2, 3, 2, 5), (2, 1, 1, 3)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_gradients_are_those_of_tensorflow(shape, stride, padding):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.standard_normal(shape), tf.float64)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, None], tf.float64)] * 2, autograph=False
    )
    def both(x, kernel):
        """The kernel's size is known at run time only, and the gradient is taken in a branch."""

        def gradients(convolve):
            with tf.GradientTape() as tape:
                tape.watch([x, kernel])
                y = tf.cond(tf.shape(kernel)[0] > 0, lambda: convolve(x, kernel), lambda: x)
                loss = tf.reduce_sum(y * 0.5 + y**2)
            return y, *tape.gradient(loss, [x, kernel])

        strides = [1, stride, stride, 1]
        return (
            gradients(lambda x, k: depthwise_convolution(x, k, stride, padding, SIZES)),
            gradients(lambda x, k: tf.nn.depthwise_conv2d(x, k, strides, padding)),
        )

    for size in SIZES:
        if padding == "VALID" and size > min(shape[1:3]):
            continue
        kernel = tf.constant(rng.standard_normal((size, size, shape[3], 1)), tf.float64)
        for here, expected in zip(*both(x, kernel), strict=True):
            np.testing.assert_allclose(here, expected, rtol=1e-9, atol=1e-9)


def test_sizes_that_are_fast_are_left_to_tensorflow():
    x, kernel = tf.ones([1, 5, 5, 2]), tf.ones([3, 3, 2, 1])
    with tf.Graph().as_default() as graph:
        depthwise_convolution(tf.constant(x.numpy()), kernel.numpy(), 1, "SAME", (3,))
    assert "IdentityN" not in {operation.type for operation in graph.get_operations()}
