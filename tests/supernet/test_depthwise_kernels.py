"""Kernels of every size out of the largest one, and the padding of the convolutions with them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf.layers import ElasticSite, Mode
from qfa_tf.layers.kernel_transform import KernelTransform
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("v3_net")
KERNEL_SIZES = [(3, 5, 7), (3, 5), (3, 7), (5, 7)]
EACH_SIZE = [(sizes, size) for sizes in KERNEL_SIZES for size in sizes]


def hard_swish(x):
    return x * np.clip(x + 3, 0, 6) / 6


def randomize(transform, seed=0):
    rng = np.random.default_rng(seed)
    for size, matrix in transform.matrices.items():
        matrix.assign(np.eye(size**2) + 0.2 * rng.normal(size=matrix.shape))


def chain(transform, kernel, size):
    """The transform in NumPy: centre, matrix, centre, matrix, ..."""
    for smaller in transform.kernel_sizes[-2::-1]:
        if len(kernel) == size:
            break
        margin = (len(kernel) - smaller) // 2
        centre = kernel[margin : margin + smaller, margin : margin + smaller]
        flat = transform.matrices[smaller].numpy() @ centre.reshape(smaller**2, -1)
        kernel = flat.reshape(smaller, smaller, -1, 1)
    return kernel


@pytest.mark.parametrize(("kernel_sizes", "size"), EACH_SIZE)
def test_transform(kernel_sizes, size):
    transform = KernelTransform(keras.layers.Layer(), kernel_sizes)
    assert sorted(transform.matrices) == list(kernel_sizes[:-1])
    largest = kernel_sizes[-1]
    kernel = np.random.default_rng(1).normal(size=(largest, largest, 6, 1)).astype(np.float32)
    margin = (largest - size) // 2
    centre = kernel[margin : largest - margin, margin : largest - margin]
    np.testing.assert_array_equal(transform(tf.constant(kernel), size), centre)  # identity at first
    randomize(transform)
    actual = transform(tf.constant(kernel), size)
    np.testing.assert_allclose(actual, chain(transform, kernel, size), rtol=1e-4, atol=1e-5)


def choices_of(net, ratio=3, kernel_size=3):
    """Choices of the largest subnet of a net at one expand ratio and kernel size."""
    space = net.space
    genome = space.encode(space.largest())
    for block in ("s1.b0", "s1.b1"):
        genome[space.gene_index[f"{block}.expand_ratio"]] = ratio
        genome[space.gene_index[f"{block}.kernel_size"]] = kernel_size
    return net.site_choices(tf.constant(genome))


def run(layer, x, choice):
    """A float site in FROZEN mode with statistics that change nothing."""
    ones = tf.fill([layer.output_width], 1.0 - layer.epsilon)
    statistics = {"mean": tf.zeros_like(ones), "variance": ones}
    return layer(tf.convert_to_tensor(x), choice, Mode.FROZEN, statistics.__getitem__)[0]


@pytest.mark.parametrize("ratio", [2, 3])
@pytest.mark.parametrize(("kernel_sizes", "size"), EACH_SIZE)
def test_chosen_kernel_is_a_slice_of_the_transform(kernel_sizes, size, ratio, v3_float_net):
    """Values and gradients; these reach the matrices on the way to the size, and no others."""
    width, largest = (v3_float_net.space.mid_width(1, 1, value) for value in (ratio, 3))
    float_bits = {"weight_bits": (32,), "activation_bits": (32,)}
    layer = ElasticSite("depthwise", largest, largest, kernel_sizes, **float_bits)
    layer.build()
    randomize(layer.transform)
    choice = dataclasses.replace(
        choices_of(v3_float_net, ratio)["s1.b1.depthwise"], kernel_size=tf.constant(size)
    )
    x = tf.random.stateless_normal([2, 5, 5, width], [0, 1])
    upstream = tf.random.stateless_normal([2, 5, 5, width], [0, 2])
    sources = [layer.kernel, *layer.transform.matrices.values()]

    def sliced():
        kernel = layer.transform(layer.kernel, size)[:, :, :width]
        return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME")

    results = []
    for function in (sliced, lambda: run(layer, x, choice)):
        with tf.GradientTape() as tape:
            y = function()
            loss = tf.reduce_sum(upstream * y)
        results.append([y, *tape.gradient(loss, sources, unconnected_gradients="zero")])
    for actual, expected in zip(*reversed(results), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    of_kernel, *of_matrices = results[1][1:]
    assert not np.any(of_kernel[:, :, width:])
    for smaller, gradient in zip(layer.transform.matrices, of_matrices, strict=True):
        assert np.any(gradient) == (smaller >= size)


def convolution(x, kernel, stride, depthwise):
    """With k // 2 zeros on all sides, in NumPy."""
    size = len(kernel)
    x = np.pad(x, [(0, 0), *[(size // 2, size // 2)] * 2, (0, 0)])
    rows, columns = ((length - size) // stride + 1 for length in x.shape[1:3])
    y = 0
    for i in range(size):
        for j in range(size):
            part = x[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
            y = y + (part * kernel[i, j, :, 0] if depthwise else part @ kernel[i, j])
    return y


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 7), (8, 5)])
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("site", ["s1.b0.depthwise", "s1.b1.depthwise"])
def test_symmetric_padding_of_depthwise(site, kernel_size, height, width, v3_float_net):
    """It differs from "same" at stride 2 on even sizes only."""
    layer = v3_float_net.site_layer(site)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, height, width, layer.output_width)).astype(np.float32)
    y = run(layer, x, choices_of(v3_float_net, 3, kernel_size)[site])
    kernel = layer.transform(layer.kernel, kernel_size).numpy()
    expected = hard_swish(convolution(x, kernel, layer.stride, depthwise=True))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    strides = [1, layer.stride, layer.stride, 1]
    same = hard_swish(tf.nn.depthwise_conv2d(x, kernel, strides, "SAME"))
    assert same.shape == y.shape
    differs = layer.stride == 2 and 8 in (height, width)
    assert np.allclose(same, y, rtol=1e-3, atol=1e-4) != differs


@pytest.mark.parametrize("size", [14, 15])
def test_symmetric_padding_of_the_stem(size, v3_float_net):
    x = np.random.default_rng(0).normal(size=(2, size, size, 1)).astype(np.float32)
    layer = v3_float_net.site_layer("stem")
    assert layer.stride == 2
    y = run(layer, x, choices_of(v3_float_net)["stem"])
    expected = hard_swish(convolution(x, layer.kernel.numpy(), 2, depthwise=False))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
