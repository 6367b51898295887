"""Masked execution: the numbers of the sliced one, with one shape for all subnets."""

import numpy as np
import pytest
import tensorflow as tf
from masked_nets import SPACES, batch, gradients_of, largest_difference, mobilenet_v3, pair, resnet

from qfa_tf import QFASupernet, QFATraining
from qfa_tf.layers import Mode
from qfa_tf.layers.depthwise import depthwise_convolution
from qfa_tf.layers.execution import EXECUTIONS, Channels
from qfa_tf.layers.kernel_transform import KernelTransform
from qfa_tf.supernet import options
from quantize_configs.batch_quantizer import BatchQuantizer
from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras
from quantize_configs.native import operators
from quantize_configs.quantizer_options import BATCH_ESTIMATORS

pytestmark = pytest.mark.xdist_group("masked")

BATCHES = 3
"""A value next to a rounding boundary may fall on another side of it by the last bit of a mean.
That is rare, and another batch will not have it; a fault would show in all of them."""

CASES = [
    *((name, {}) for name in SPACES),
    ("mobilenet_v3", {"padding": "symmetric", "estimator": "sample_mean"}),
    ("joined", {"activation_quantizer": "lsq_plus"}),
    ("resnet", {"activation_quantizer": "lsq"}),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([case[0], *case[1]]))
def nets(request):
    name, own = request.param
    return pair(SPACES[name](), **own)


@pytest.fixture(scope="module")
def genomes(nets):
    """The smallest, the largest and random subnets of a step; their bits are any, 32 included."""
    stage = tf.constant(0)
    return list(nets[0].training_method.sampler.draw(tf.constant(3, tf.int64), stage))


def test_loss_and_all_gradients_are_those_of_slices(nets, genomes):
    sliced, _ = nets
    for genome in genomes:
        for seed in range(BATCHES):
            images, labels = batch(sliced.space, seed)
            expected, found = (gradients_of(net, genome, images, labels) for net in nets)
            worst = max(
                largest_difference(found[:1], expected[:1]),
                largest_difference(found[1:2], expected[1:2]),
                largest_difference(found[2], expected[2]),
            )
            if worst <= 1:
                break
        assert worst <= 1, sliced.space.decode(genome.numpy()).describe()
        assert any(np.any(gradient) for gradient in map(np.asarray, found[2]))


def test_statistics_are_those_of_slices(nets, genomes):
    """Measured, packed in the same places, and read from there."""
    sliced, _ = nets
    for genome in genomes[1:3]:
        for seed in range(BATCHES):
            images, _ = batch(sliced.space, seed)
            expected, found = (net.run_subnet(Mode.CALIBRATE, images, genome)[1] for net in nets)
            entries = [
                [np.asarray(sliced.layout.read(one, name)) for name in sliced.layout.entries]
                for one in (found, expected)
            ]
            worst = largest_difference(*entries)
            rows = [net.run_subnet(Mode.FROZEN, images, genome, expected)[0] for net in nets]
            worst = max(worst, largest_difference(rows[1:], rows[:1]))
            if worst <= 1:
                break
        assert worst <= 1


@pytest.mark.parametrize("padding", ["SAME", "symmetric"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 5, 7])
def test_a_small_kernel_in_the_middle_of_the_largest_one(size, stride, padding):
    layer = keras.layers.Layer()
    transform = KernelTransform(layer, (3, 5, 7))
    for one, matrix in transform.matrices.items():
        matrix.assign(tf.random.stateless_normal(matrix.shape, [one, 0]) / one)
    largest = tf.random.stateless_normal([7, 7, 3, 1], [7, 0])
    channels = Channels.fixed([3])
    for height, width in ((1, 2), (6, 7), (9, 8)):
        x = tf.random.stateless_normal([2, height, width, 3], [1, 1])
        results = []
        for execution in EXECUTIONS.values():
            kernel = execution.kernel(largest, channels, transform, tf.constant(size))
            sides = [len(kernel) // 2] * 2 if padding == "symmetric" else [0, 0]
            padded = tf.pad(x, [[0, 0], sides, sides, [0, 0]])
            how = "VALID" if padding == "symmetric" else "SAME"
            sizes = execution.kernel_sizes((3, 5, 7))
            results.append(depthwise_convolution(padded, kernel, stride, how, sizes))
        np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("estimator", BATCH_ESTIMATORS)
def test_ranges_do_not_see_masked_channels(estimator):
    """Positive values alone, which the zeros of masked channels would stretch the range of."""
    quantizer = BatchQuantizer(4, estimator=estimator)
    x = tf.random.stateless_uniform([4, 3, 3, 5], [0, 1], 1.0, 2.0)
    for sign in (1.0, -1.0):
        active = tf.constant([True, False, True, True, False])
        masked = sign * x * tf.cast(active, x.dtype)
        sliced = sign * tf.boolean_mask(x, active, axis=3)
        np.testing.assert_allclose(
            quantizer.batch_range(masked, active=active), quantizer.batch_range(sliced), rtol=1e-6
        )


def test_native_kernels_are_left_out(monkeypatch):
    """XLA knows none of them, so that a masked pass does not ask for any."""

    class Refusing:
        def __getattr__(self, name):
            raise AssertionError(f"{name} was used")

    net = QFASupernet(resnet(), execution="masked")
    monkeypatch.setattr(operators, "_loaded", [Refusing()])
    assert operators.native_operators() is not None
    images, _ = batch(net.space, 0)
    net.run_subnet(Mode.TRAIN, images, net.as_genome(net.space.largest()))
    again = QFASupernet(net.space, execution="masked")
    again.run_subnet(Mode.TRAIN, images, again.as_genome(net.space.smallest()))


def test_names_of_options_are_those_of_executions():
    assert tuple(EXECUTIONS) == options.EXECUTIONS


def test_what_has_no_static_shapes_is_refused():
    space = resnet()
    with pytest.raises(InvalidInputError, match="needs zero_point='integer'"):
        QFASupernet(space, execution="masked", zero_point="fractional")
    with pytest.raises(InvalidInputError, match=r"execution='masked'\)\. Received: .*'sliced'"):
        QFASupernet(space).compile(training=QFATraining(), jit_compile=True)


def test_each_resolution_has_shapes_of_its_own():
    """One trace of the net serves all of them."""
    space = mobilenet_v3(resolutions=(7, 8), squeeze_excite=False)
    nets = pair(space)
    images, labels = batch(space, 0)
    for architecture in (space.smallest(bits=32), space.largest(bits=32)):
        genome = nets[0].as_genome(architecture)
        expected, found = (gradients_of(net, genome, images, labels) for net in nets)
        assert largest_difference(found[2], expected[2]) <= 1
