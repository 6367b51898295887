"""Learned parameters that stand in one table read as the quantizers would read their own."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf import QFASupernet
from qfa_tf.layers import Mode
from qfa_tf.layers.activations import ACTIVATIONS
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("v3_net")
BITS = (2, 3, 4, 8, 32)
KERNELS = (3, 5, 7)


@pytest.fixture(scope="module", params=["integer", "fractional"])
def net(request, v3_space):
    """An untrained supernet whose quantizer parameters all differ."""
    keras.utils.set_random_seed(2)
    net = QFASupernet(v3_space, zero_point=request.param, padding="symmetric")
    rng = np.random.default_rng(3)
    bank = net.precision
    bank.step.assign(bank.step * rng.uniform(0.7, 1.3, bank.step.shape))
    bank.theta.assign(rng.normal(size=bank.theta.shape, scale=0.3))
    bank.beta.assign(rng.normal(size=bank.beta.shape, scale=0.8))
    for site in net.space.sites:
        layer = net.site_layer(site.name)
        for matrix in layer.transform.matrices.values():
            matrix.assign_add(rng.normal(size=matrix.shape, scale=0.2))
    return net


def genome_of(net, bits, kernel_size, ratio=3):
    space = net.space
    genome = space.encode(space.largest(bits=bits))
    for block in ("s1.b0", "s1.b1"):
        genome[space.gene_index[f"{block}.kernel_size"]] = kernel_size
        genome[space.gene_index[f"{block}.expand_ratio"]] = ratio
    return genome


def site_bits(net, site, genome):
    """(weight bits, activation bits, bank) of a site."""
    space = net.space
    bits = [
        int(space.lookup(f"{site}.{kind}_bits").read(genome)) for kind in ("weight", "activation")
    ]
    kernel_sizes = net.site_layer(site).kernel_sizes
    if len(kernel_sizes) == 1:
        return *bits, 0
    block = site.rpartition(".")[0]
    size = int(space.lookup(f"{block}.kernel_size").read(genome))
    return *bits, kernel_sizes.index(size)


def own_variables(net, site):
    """Copies of the parameters of one site as its quantizers make them, of weight and input."""
    bank = net.precision
    steps, activations = bank.steps_of(site), bank.activations_of(site)
    return (
        {"step": tf.Variable(bank.step[steps])},
        {
            "theta": tf.Variable(bank.theta[activations]),
            "beta": tf.Variable(bank.beta[activations]),
        },
    )


def is_quantized(precision):
    """Whether a grid is used; sites of fixed bits have no switch."""
    return precision.enabled is None or bool(precision.enabled)


def check_choices(net, genome):
    choices = net.site_choices(tf.constant(genome))
    low, high = tf.constant(-0.7), tf.constant(2.3)
    for site, choice in choices.items():
        layer = net.site_layer(site)
        weight_bits, activation_bits, bank = site_bits(net, site, genome)
        of_weight, of_input = own_variables(net, site)
        expected = layer.weight_quantizer.grid(of_weight, weight_bits, bank)
        actual = choice.weight.step, choice.weight.qmin, choice.weight.qmax
        np.testing.assert_array_equal(actual, expected, err_msg=site)
        assert is_quantized(choice.weight) == (weight_bits != 32)
        quantizer, read = layer.activation_quantizer, choice.activation
        expected = quantizer.grid(low, high, of_input, activation_bits, bank)
        actual = quantizer.grid_from(low, high, read.qmin, read.qmax, read.factor, read.offset)
        np.testing.assert_allclose(actual, expected, rtol=1e-6, err_msg=site)
        assert is_quantized(read) == (activation_bits != 32)


@pytest.mark.parametrize("kernel_size", KERNELS)
@pytest.mark.parametrize("bits", BITS)
def test_read_by_table(bits, kernel_size, net):
    check_choices(net, genome_of(net, bits, kernel_size))


@pytest.mark.parametrize("seed", range(4))
def test_read_by_table_for_random_subnets(seed, net):
    space = net.space
    genome = space.encode(space.largest(bits=4))
    drawn = space.encode(space.sample(np.random.default_rng(seed)))
    genome = np.where(drawn == 0, genome, drawn)  # every block at full depth
    check_choices(net, genome)


def test_parameters_by_name(net):
    """What extraction reads is what a pass reads."""
    for bits in BITS[:-1]:
        for kernel_size in KERNELS:
            choices = net.site_choices(tf.constant(genome_of(net, bits, kernel_size)))
            for site, choice in choices.items():
                size = kernel_size if site in ("s1.b0.depthwise", "s1.b1.depthwise") else None
                own = bits if site not in ("stem", "classifier") else 8
                assert net.precision.weight_step(site, own, size) == float(choice.weight.step)
                _, beta = net.precision.activation_parameters(site, own, size)
                assert beta == float(choice.activation.offset)


def test_skipped_blocks_are_well_formed(net):
    """Genes 0 of a skipped block select no parameter out of bounds and give no NaN."""
    space = net.space
    arch = space.smallest(bits=3)
    genome = net.as_genome(arch)
    assert not genome.numpy()[space.gene_index["s1.b1.kernel_size"]]
    for site, choice in net.site_choices(genome).items():
        for part in (choice.weight, choice.activation):
            numbers = [value for name, value in vars(part).items() if name != "enabled"]
            assert np.isfinite(numbers).all(), site
        assert choice.weight.step > 0
        assert min(choice.inputs.width[0], choice.outputs.width[0]) > 0
    images = tf.random.stateless_uniform([8, 16, 16, 1], [1, 2])
    variables = net.trainable_variables
    with tf.GradientTape() as tape:
        logits, _ = net.run_subnet(Mode.TRAIN, images, genome)
        loss = tf.reduce_sum(logits**2)
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    for variable, gradient in zip(variables, gradients, strict=True):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), variable.name
    _, statistics = net.run_subnet(Mode.CALIBRATE, images, genome)
    assert np.isfinite(statistics).all()
    for name in ("s1.b1.expand.mean", "s1.b1.depthwise.range", "s1.b1.se.gate", "s1.b1.sum"):
        assert not np.any(net.layout.read(statistics, name))
    assert np.isfinite(net.run_subnet(Mode.FROZEN, images, genome, statistics)[0]).all()


def whole_then_slice(layer, x, bits, bank, width, of_weight, of_input):
    """A site as the papers have it: the whole kernel is quantized and then sliced."""
    weight_bits, activation_bits = bits
    low, high = layer.activation_quantizer.batch_range(x)
    x = layer.activation_quantizer.quantize(x, low, high, of_input, activation_bits, bank)
    size = layer.kernel_sizes[bank]
    kernel = tf.convert_to_tensor(layer.kernel)
    if layer.kind == "depthwise":
        kernel = layer.transform(kernel, size)
    kernel = layer.weight_quantizer(kernel, True, of_weight, weight_bits, bank)
    padding = [[0, 0], [size // 2] * 2, [size // 2] * 2, [0, 0]]
    strides = [1, layer.stride, layer.stride, 1]
    if layer.kind == "depthwise":
        kernel = kernel[:, :, :width]
        x = tf.nn.depthwise_conv2d(tf.pad(x, padding), kernel, strides, "VALID")
    elif layer.kind == "convolution":
        x = tf.nn.conv2d(tf.pad(x, padding), kernel, strides, "VALID")
    else:
        x = tf.einsum("nhwi,io->nhwo", x, kernel[: x.shape[-1], :width])
    if layer.normalization:
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        gamma, beta = layer.gamma[:width], layer.beta[:width]
        x = tf.nn.batch_normalization(x, mean, variance, beta, gamma, layer.epsilon)
    elif layer.use_bias:
        x += layer.bias
    return ACTIVATIONS[layer.activation](x)


CASES = [
    *(("s1.b1.depthwise", bits, kernel) for bits in BITS for kernel in KERNELS),
    *(("s1.b0.expand", bits, 3) for bits in BITS),
    *((site, 3, 3) for site in ("s0.b0.depthwise", "s1.b0.project", "s1.b0.depthwise")),
    *((site, 4, 7) for site in ("stem", "head.expand", "head.mix", "classifier")),
]


@pytest.mark.parametrize(("site", "bits", "kernel_size"), CASES)
def test_slicing_before_quantizing(site, bits, kernel_size, net):
    """Values and all gradients; that of the step counts the weights of the whole kernel."""
    layer = net.site_layer(site)
    genome = genome_of(net, bits, kernel_size, ratio=2)
    *own_bits, bank = site_bits(net, site, genome)
    choice = net.site_choices(tf.constant(genome))[site]
    rows, width = (int(channels.width[0]) for channels in (choice.inputs, choice.outputs))
    on_a_map = layer.kind != "dense"
    x = tf.random.stateless_normal([6, 6, 6, rows] if on_a_map else [6, 1, 1, rows], [7, bits])
    of_weight, of_input = own_variables(net, site)
    bank_variables = [net.precision.step, net.precision.theta, net.precision.beta]
    own = [of_weight["step"], of_input["theta"], of_input["beta"]]
    weights = list(layer.trainable_weights)

    def run(function, parameters):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function()
            upstream = tf.random.stateless_normal(tf.shape(y), [9, 9])
            loss = tf.reduce_sum(upstream * y)
        gradients = tape.gradient(loss, [x, *weights, *parameters], unconnected_gradients="zero")
        return y, gradients

    def run_site():
        return layer(x, net.site_choices(tf.constant(genome))[site], Mode.TRAIN, None)[0]

    y, gradients = run(run_site, bank_variables)
    expected, expected_gradients = run(
        lambda: whole_then_slice(layer, x, own_bits, bank, width, of_weight, of_input), own
    )
    assert y.shape[-1] == width
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=2e-5)
    slices = [net.precision.steps_of(site)] + [net.precision.activations_of(site)] * 2
    for position, place in zip((-3, -2, -1), slices, strict=True):
        everything = tf.convert_to_tensor(gradients[position]).numpy()
        gradients[position] = everything[place].copy()
        everything[place] = 0
        assert not everything.any()  # of other sites
    names = ["x", *(weight.name for weight in weights), "step", "theta", "beta"]
    for name, actual, reference in zip(names, gradients, expected_gradients, strict=True):
        actual, reference = (np.array(tf.convert_to_tensor(g)) for g in (actual, reference))
        scale = max(np.abs(reference).max(), 1e-3)
        # The learned parameters get sums over whole tensors in which most of it cancels out.
        tolerance = 1e-2 if name in ("step", "theta", "beta") else 1e-4
        np.testing.assert_allclose(actual / scale, reference / scale, atol=tolerance, err_msg=name)
    step = gradients[-3]
    column = layer.weight_quantizer.bit_widths.choices
    if own_bits[0] == 32:
        assert not step.any()
    else:
        used = bank * len(column) + column.index(own_bits[0])
        assert step[used] != 0
        assert not np.delete(step, used).any()


@pytest.mark.parametrize("kernel_size", KERNELS)
def test_factor_of_the_step_gradient(kernel_size, net):
    """LSQ's 1 / sqrt(n qmax), n all weights of the active kernel size, not of the slice."""
    site, bits = "s1.b1.depthwise", 4
    layer = net.site_layer(site)
    genome = genome_of(net, bits, kernel_size, ratio=2)
    with tf.GradientTape() as tape:
        step = net.site_choices(tf.constant(genome))[site].weight.step
    gradient = tf.convert_to_tensor(tape.gradient(step, net.precision.step))
    channels = net.space.mid_width(1, 1, 3)
    assert channels == layer.output_width > net.space.mid_width(1, 1, 2)
    factor = 1 / np.sqrt(kernel_size**2 * channels * 7)
    assert np.count_nonzero(gradient) == 1
    np.testing.assert_allclose(np.sum(gradient), factor, rtol=1e-6)


def test_gradients_of_a_whole_subnet(net, small_digits):
    """At every site, only the parameters of its bits and kernel size are reached."""
    genome = genome_of(net, bits=4, kernel_size=5)
    images, labels = small_digits.train.read_images()[:32], small_digits.train.labels[:32]
    bank = net.precision
    with tf.GradientTape() as tape:
        logits, _ = net.run_subnet(Mode.TRAIN, tf.constant(images), tf.constant(genome))
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    gradients = tape.gradient(loss, [bank.step, bank.theta, bank.beta])
    step, theta, beta = (tf.convert_to_tensor(gradient).numpy() for gradient in gradients)
    for site in net.space.sites:
        layer = net.site_layer(site.name)
        weight_bits, activation_bits, kernel = site_bits(net, site.name, genome)
        choices = layer.weight_quantizer.bit_widths.choices
        place = kernel * len(choices) + choices.index(weight_bits)
        own = step[bank.steps_of(site.name)]
        assert own[place] != 0, site.name
        assert not np.delete(own, place).any(), site.name
        choices = layer.activation_quantizer.bit_widths.choices
        place = kernel * len(choices) + choices.index(activation_bits)
        of_theta, of_beta = (array[bank.activations_of(site.name)] for array in (theta, beta))
        assert of_theta[place] != 0, site.name
        assert not np.delete(of_theta, place).any(), site.name
        assert not np.delete(of_beta, place).any(), site.name
