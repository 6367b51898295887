"""The native kernels against TensorFlow's operators, which are the reference."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf.layers.activations import extremes
from qfa_tf.layers.arithmetic import FastArithmetic, NativeArithmetic, arithmetic_of
from qfa_tf.layers.execution import EXECUTIONS
from qfa_tf.layers.kernel_transform import KernelTransform
from quantize_configs import BatchQuantizer, use_native_kernels
from quantize_configs.fake_quantization import fake_quantize
from quantize_configs.keras_backend import keras
from quantize_configs.native import building, operators
from quantize_configs.native.operators import FUSED_ACTIVATIONS, native_operators

needs_compiler = pytest.mark.skipif(building.find_compiler() is None, reason="no C++ compiler")
SHAPES = [(7, 5, 3, 13), (4, 1, 1, 3), (3, 40, 40, 33), (5, 8), (0, 4, 4, 2)]
GRIDS = [(0.13, 3.0, 0.0, 15.0), (0.013, 100.0, 0.0, 255.0), (0.7, None, -8.0, 7.0)]


@pytest.fixture
def native():
    use_native_kernels()
    yield native_operators()
    operators.ignore_native_kernels()


def tensor(shape, seed=0):
    values = np.random.default_rng(seed).normal(1.0, 2.0, shape)
    return tf.constant(values, tf.float32)


def quantized(x, grid, pass_at_bounds, enabled):
    """(x_hat, gradients of x, scale and zero point) by what is in use now."""
    scale, zero_point, qmin, qmax = (
        value if value is None else tf.constant(value) for value in grid
    )
    learned = [value for value in (scale, zero_point) if value is not None]

    @tf.function(autograph=False)
    def both(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch((x, *learned))
            # In a branch, as in a supernet.
            y = tf.cond(
                tf.size(x) >= 0,
                lambda: fake_quantize(
                    x,
                    scale,
                    zero_point,
                    qmin,
                    qmax,
                    integer_zero_point=True,
                    pass_at_bounds=pass_at_bounds,
                    enabled=None if enabled is None else tf.constant(enabled),
                ),
                lambda: x,
            )
        return y, *tape.gradient(y, (x, *learned), output_gradients=upstream)

    return [one.numpy() for one in both(x, tensor(x.shape, 1))]


@needs_compiler
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    ("pass_at_bounds", "enabled"), [(True, None), (False, True), (True, False)]
)
def test_fake_quantization_is_that_of_tensorflow(native, shape, grid, pass_at_bounds, enabled):
    x = tensor(shape)
    if x.shape[0]:  # values at the bounds
        scale, zero_point, qmin, qmax = (value or 0.0 for value in grid)
        ends = [np.float32(end - zero_point) * np.float32(scale) for end in (qmin, qmax)]
        x = tf.where(x > 2.5, ends[1], tf.where(x < -1.0, ends[0], x))
    found = quantized(x, grid, pass_at_bounds, enabled)
    operators.ignore_native_kernels()
    expected = quantized(x, grid, pass_at_bounds, enabled)
    for here, there in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(here, there)
    magnitude = max(1.0, float(tf.size(x))) ** 0.5
    for here, there in zip(found[2:], expected[2:], strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-4 * magnitude)


@needs_compiler
@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((3, 3, 7, 13), (1, 1, 1, 13)),
        ((5, 5, 9, 1), (1, 1, 9, 1)),
        ((3, 3, 4, 2), (1, 1, 4, 2)),
        ((20, 11), (1, 11)),
        ((4, 6), (1, 1)),
        ((0, 6), (1, 6)),
        ((3, 3, 7, 5), (1, 1, 7, 1)),  # not the last channels: by TensorFlow's operators
    ],
)
@pytest.mark.parametrize("pass_at_bounds", [True, False])
@pytest.mark.parametrize("enabled", [None, True, False])
def test_steps_of_channels_are_those_of_tensorflow(native, shape, steps, pass_at_bounds, enabled):
    rng = np.random.default_rng(0)
    step = tf.constant(rng.uniform(0.1, 1.0, steps), tf.float32)
    x = tf.constant(rng.normal(0.0, 3.0, shape), tf.float32)
    x = tf.where(x > 2.5, 7.0 * step, tf.where(x < -2.0, -8.0 * step, x))  # values at the bounds

    def results():
        with tf.GradientTape() as tape:
            tape.watch((x, step))
            on = None if enabled is None else tf.constant(enabled)
            limits = tf.constant(-8.0), tf.constant(7.0)
            y = fake_quantize(x, step, None, *limits, pass_at_bounds=pass_at_bounds, enabled=on)
        return y, *tape.gradient(y, (x, step), output_gradients=tensor(shape, 1))

    found = results()
    operators.ignore_native_kernels()
    expected = results()
    for here, there in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(here, there)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-4, atol=1e-4)


RANGES = [
    (-1.0, 3.0),
    (0.0, 6.0),
    (-6.0, 0.0),
    (0.0, 0.0),
    (-1.0, 1.0),
    (-1.0, 1.02),
    (-1.02, 1.0),
    (-0.3751, 2.6251),
    (-1e-9, 1e-9),
    (0.0, 1e-40),
    (-1e30, 1e30),
]


@needs_compiler
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("options", [{}, {"factor_start": "least_error"}, {"signed": True}])
def test_grids_of_ranges_are_those_of_tensorflow(native, bits, options):
    quantizer = BatchQuantizer((2, 4, 8), **options)
    limits = [tf.constant(limit) for limit in quantizer.limits(bits)]
    nearest = not quantizer.keeps_middle
    for low, high in RANGES:
        for factor, offset in ((1.0, 0.0), (1.37, 0.5), (0.61, -9.0)):
            numbers = [tf.constant(value) for value in (low, high)], limits
            learned = tf.constant(factor), tf.constant(offset)
            with tf.GradientTape() as tape:
                tape.watch(learned)
                expected = tf.stack(quantizer.grid_from(*numbers[0], *limits, *learned))
            upstream = tf.constant([0.7, 0.0, 0.0, 0.0])
            to_factor, _ = tape.gradient(expected, learned, output_gradients=upstream)
            with tf.GradientTape() as tape:
                tape.watch(learned)
                found = native.batch_grid(
                    *numbers[0], *limits, *learned, enabled=True, nearest=nearest
                )
            upstream = tf.concat([upstream, [0.0]], 0)
            of_native = tape.gradient(found, learned, output_gradients=upstream)
            np.testing.assert_array_equal(found, [*expected, 1.0])
            np.testing.assert_array_equal(of_native, [to_factor, 0.0])


@needs_compiler
def test_a_grid_that_is_not_finite_is_told_by_its_gradient(native):
    _, _, to_scale, _ = quantized(tensor((2, 3)), (np.inf, 1.0, 0.0, 15.0), True, None)
    assert np.isnan(to_scale)
    x_hat, *_ = quantized(tf.constant([[np.nan, 1.0]]), GRIDS[0], True, None)
    assert np.isnan(x_hat[0, 0])


@needs_compiler
@pytest.mark.parametrize("estimator", ["channel_mean", "min_max", "sample_mean"])
@pytest.mark.parametrize("shape", SHAPES[:-1])
def test_ranges_are_those_of_tensorflow(native, estimator, shape):
    quantizer = BatchQuantizer(4, estimator=estimator)
    found = quantizer.batch_range(tensor(shape))
    operators.ignore_native_kernels()
    np.testing.assert_array_equal(found, quantizer.batch_range(tensor(shape)))


def normalized(arithmetic, x, activation, stop_constant):
    gamma = tf.linspace(0.5, 2.0, x.shape[-1])
    beta = tf.linspace(0.1, 1.0, x.shape[-1])  # above 0, for what is constant
    with tf.GradientTape() as tape:
        tape.watch((x, gamma, beta))
        y = arithmetic.normalize_and_activate(x, gamma, beta, 1e-2, stop_constant, activation)
    return y, *tape.gradient(y, (x, gamma, beta), output_gradients=tensor(x.shape, 1))


@needs_compiler
@pytest.mark.parametrize("activation", FUSED_ACTIVATIONS)
@pytest.mark.parametrize("stop_constant", [True, False])
def test_normalization_is_that_of_tensorflow(native, activation, stop_constant):
    x = tensor((4, 8, 4, 7)).numpy()
    x[..., 2] = 0.25  # with 128 values its mean is exact, in any order and on any processor
    arithmetic = arithmetic_of("integer")
    assert isinstance(arithmetic, NativeArithmetic)
    found = normalized(arithmetic, tf.constant(x), activation, stop_constant)
    expected = normalized(FastArithmetic(), tf.constant(x), activation, stop_constant)
    for here, there in zip(found, expected, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-4)
    assert stop_constant != found[1].numpy()[..., 2].any()


def normalized_and_quantized(deferred, activation, estimator, enabled, x, stop_constant=True):
    """(x_hat, gradients of x, gamma, beta, factor) by an arithmetic's own way or in one pass."""
    arithmetic = arithmetic_of("integer")
    quantizer = BatchQuantizer((2, 4, 32), estimator=estimator, factor_start="least_error")
    gamma = tf.linspace(0.5, 2.0, x.shape[-1])
    beta = tf.linspace(-1.0, 1.0, x.shape[-1])
    make = arithmetic.defer_normalization if deferred else arithmetic.normalize_and_activate

    @tf.function(autograph=False)
    def passes(x, factor):
        with tf.GradientTape() as tape:
            tape.watch((x, gamma, beta, factor))

            def quantized():
                y = make(x, gamma, beta, 1e-2, stop_constant, activation)
                choice = quantizer.Choice(
                    factor, tf.zeros([]), tf.zeros([]), tf.constant(15.0), tf.constant(enabled)
                )
                return quantizer.quantize_choice(y, choice, quantizer.batch_range(y))

            # In a branch, as in a supernet.
            y = tf.cond(tf.size(x) > 0, quantized, lambda: x)
        sources = x, gamma, beta, factor
        return y, *tape.gradient(y, sources, output_gradients=tensor(x.shape, 1))

    return [value.numpy() for value in passes(x, tf.constant(1.3))]


@needs_compiler
@pytest.mark.parametrize("activation", FUSED_ACTIVATIONS)
@pytest.mark.parametrize(
    ("estimator", "enabled"),
    [("channel_mean", True), ("channel_mean", False), ("min_max", True), ("sample_mean", True)],
)
def test_quantizing_what_is_normalized_is_the_same_in_one_pass(
    native, activation, estimator, enabled
):
    x = tensor((4, 18, 9, 37)).numpy()
    x[..., 5] = 0.25
    x = tf.constant(x)
    found = normalized_and_quantized(True, activation, estimator, enabled, x)
    expected = normalized_and_quantized(False, activation, estimator, enabled, x)
    np.testing.assert_array_equal(found[0], expected[0])
    assert np.unique(found[0]).size <= 16 or not enabled
    for here, there in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-5 * np.abs(there).max())
    assert not found[1][..., 5].any()


def convolved(arithmetic, x, kernel, stride, padding):
    with tf.GradientTape() as tape:
        tape.watch((x, kernel))
        y = arithmetic.convolve_depthwise(x, kernel, stride, padding, (kernel.shape[0],))
    return y, *tape.gradient(y, (x, kernel), output_gradients=tensor(y.shape, 1))


@needs_compiler
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (7, 2), (9, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("shape", [(3, 9, 12, 13), (2, 40, 11, 16)])
def test_depthwise_convolution_is_that_of_tensorflow(native, size, stride, padding, shape):
    x, kernel = tensor(shape), tensor((size, size, shape[-1], 1), 2)
    arithmetic = arithmetic_of("integer")
    assert isinstance(arithmetic, NativeArithmetic)
    found = convolved(arithmetic, x, kernel, stride, padding)
    expected = convolved(FastArithmetic(), x, kernel, stride, padding)
    for here, there in zip(found, expected, strict=True):
        largest = np.abs(there).max()
        np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-5 * largest)


def branched(function, sources, upstream_seed=1):
    """(result, gradients) of a function within a branch of a graph, as in a supernet."""

    @tf.function(autograph=False)
    def both(sources):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            y = tf.cond(tf.size(sources[0]) > 0, lambda: function(*sources), lambda: sources[0])
        upstream = tf.random.stateless_normal(tf.shape(y), [upstream_seed, 0])
        return y, *tape.gradient(y, sources, output_gradients=upstream)

    return [one.numpy() for one in both(sources)]


def chosen(size, count):
    return EXECUTIONS["sliced"].channels([size], [tf.constant([count])])


@needs_compiler
@pytest.mark.parametrize(
    ("shape", "counts"),
    [
        ((7,), {0: 3}),
        ((6, 9), {0: 4, 1: 5}),
        ((6, 9), {1: 9}),
        ((3, 3, 8, 6), {2: 5, 3: 2}),
        ((3, 3, 8, 6), {3: 2}),
        ((5, 5, 8, 1), {2: 1}),
        ((4, 3, 5), {0: 2, 2: 3}),
    ],
)
def test_parts_of_weights_are_those_of_tensorflow(native, shape, counts):
    axes = {axis: chosen(shape[axis], count) for axis, count in counts.items()}
    found = branched(lambda x: EXECUTIONS["sliced"].take(x, axes), [tensor(shape)])
    operators.ignore_native_kernels()
    expected = branched(lambda x: EXECUTIONS["sliced"].take(x, axes), [tensor(shape)])
    for here, there in zip(found, expected, strict=True):
        np.testing.assert_array_equal(here, there)


@needs_compiler
def test_a_part_larger_than_the_whole_is_refused(native):
    for count in (-1, 8):
        with pytest.raises(tf.errors.InvalidArgumentError, match="larger than the whole"):
            EXECUTIONS["sliced"].take(tensor((7,)), {0: chosen(7, count)})


@needs_compiler
@pytest.mark.parametrize("sizes", [(3, 5, 7), (3, 7), (1, 3)])
@pytest.mark.parametrize("width", [1, 17, 33])
def test_elastic_kernels_are_those_of_tensorflow(native, sizes, width):
    transform = KernelTransform(keras.layers.Layer(), sizes)
    matrices = [tensor(matrix.shape, size) / size for size, matrix in transform.matrices.items()]
    largest = tensor((sizes[-1], sizes[-1], 33, 1))

    def take(kernel, *given):
        transform.matrices = dict(zip(transform.matrices, given, strict=True))
        execution = EXECUTIONS["sliced"]
        return execution.trained_kernel(kernel, chosen(33, width), transform, tf.constant(size))

    for size in sizes:
        use_native_kernels()
        found = branched(take, [largest, *matrices])
        operators.ignore_native_kernels()
        expected = branched(take, [largest, *matrices])
        for here, there in zip(found, expected, strict=True):
            np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-5 * np.abs(there).max())
        assert found[0].shape == (size, size, width, 1)


@needs_compiler
@pytest.mark.parametrize("shape", [(3, 4, 5, 7), (1, 1, 1, 3), (6, 7)])
def test_products_of_channels_are_those_of_tensorflow(native, shape):
    x, matrix = tensor(shape), tensor((shape[-1], 4), 2)
    widths = tf.constant([shape[-1]]), tf.constant([4])
    results = [
        branched(lambda x, matrix, own=own: own.multiply_channels(x, matrix, *widths), [x, matrix])
        for own in (arithmetic_of("integer"), FastArithmetic())
    ]
    for here, there in zip(*results, strict=True):
        np.testing.assert_array_equal(here, there)


def scaled(arithmetic, x, activation, enabled, grid=(0.3, 3.0, 0.0, 7.0)):
    """(map, extremes, quantized map, gradients of its input, scale and offset, of both)."""
    mean, variance = tf.linspace(-1.0, 1.0, x.shape[-1]), tf.linspace(0.1, 3.0, x.shape[-1])
    gamma, beta = tf.linspace(-0.5, 2.0, x.shape[-1]), tf.linspace(-1.0, 1.0, x.shape[-1])
    upstream, step = tensor(x.shape, 1), tf.constant(grid[0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((x, gamma, beta, step))
        y = arithmetic.normalize_by(x, (mean, variance), gamma, beta, 1e-2, activation)
        low, high = tf.unstack(extremes(y))
        y_hat = fake_quantize(
            y, step, *grid[1:], integer_zero_point=True, enabled=tf.constant(enabled)
        )
        y = y if tf.is_tensor(y) else y.value()
    return [y, low, high, y_hat], [
        *tape.gradient(y, (x, gamma, beta), output_gradients=upstream),
        *tape.gradient(y_hat, (x, gamma, beta, step), output_gradients=upstream),
    ]


@needs_compiler
@pytest.mark.parametrize("activation", FUSED_ACTIVATIONS)
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("shape", [(3, 9, 12, 13), (2, 40, 40, 33), (5, 8)])
def test_normalization_by_given_statistics_is_that_of_tensorflow(
    native, activation, enabled, shape
):
    found, to_inputs = scaled(NativeArithmetic(), tensor(shape), activation, enabled)
    with operators.without_native_kernels():
        expected, gradients = scaled(NativeArithmetic(), tensor(shape), activation, enabled)
    for here, there in zip(found, expected, strict=True):
        np.testing.assert_array_equal(here, there)
    for here, there in zip(to_inputs, gradients, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-5 * np.abs(there).max())


@needs_compiler
@pytest.mark.parametrize("activation", FUSED_ACTIVATIONS)
def test_an_activation_that_waits_is_that_of_tensorflow(native, activation):
    x = tensor((3, 9, 12, 13))
    waiting = NativeArithmetic().activate(x, activation)
    found = extremes(waiting), waiting if tf.is_tensor(waiting) else waiting.value()
    with operators.without_native_kernels():
        y = NativeArithmetic().activate(x, activation)
        expected = extremes(y), y
    for here, there in zip(found, expected, strict=True):
        np.testing.assert_array_equal(here, there)


@needs_compiler
@pytest.mark.parametrize("activation", FUSED_ACTIVATIONS)
@pytest.mark.parametrize("place", [0, 1, 8])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_no_number_is_seen_wherever_it_stands(native, activation, place, threads):
    values = np.ones((9, 40, 40, 33), np.float32)
    values[place, 1, 2, 5] = np.nan
    kernels = operators.NativeOperators(native._library, threads)
    waiting = kernels.scale(values, tf.ones([33]), tf.zeros([33]), activation)
    gains = tf.ones([33]), tf.ones([33])
    deferred = kernels.defer_normalization(tf.constant(values), *gains, 1e-2, activation, True)
    for found in (*kernels.extremes(values), *waiting.extremes(), *deferred.extremes()):
        np.testing.assert_array_equal(np.isnan(found), np.arange(33) == 5)


@needs_compiler
def test_results_do_not_depend_on_the_threads(native):
    alone = operators.NativeOperators(native._library, 1)
    many = operators.NativeOperators(native._library, 5)
    x, upstream = tensor((9, 40, 40, 33)), tensor((9, 40, 40, 33), 1)
    grid = tf.constant([0.1, 3.0, 0.0, 15.0, 1.0])
    steps = tf.linspace(0.1, 1.0, 33)
    gamma = beta = tf.ones([33])
    kernel = tensor((5, 5, 33, 1), 2)

    def deferred(kernels):
        with tf.GradientTape() as tape:
            tape.watch((x, gamma, beta))
            later = kernels.defer_normalization(x, gamma, beta, 1e-2, "relu6", True)
            y = later.fake_quantize(grid)
        gradients = tape.gradient(y, (x, gamma, beta), output_gradients=upstream)
        return y, *later.extremes(), *gradients

    def waiting(kernels):
        later = kernels.scale(x, gamma, beta, "hard_swish")
        return later.value(), *later.extremes(), later.fake_quantize(grid)

    def results(kernels):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch((x, gamma, beta, grid, steps))
            y = kernels.normalize(x, gamma, beta, 1e-2, "hard_swish", True)
            on_grid = kernels.fake_quantize(x, grid)
            limits = tf.constant(-8.0), tf.constant(7.0)
            by_channel = kernels.quantize_channels(x, steps, *limits, tf.constant(True), False)
        return [
            y,
            *tape.gradient(y, (x, gamma, beta), output_gradients=upstream),
            on_grid,
            *tape.gradient(on_grid, (x, grid), output_gradients=upstream),
            by_channel,
            *tape.gradient(by_channel, (x, steps), output_gradients=upstream),
            *convolved(NativeArithmetic(), x, kernel, 1, "SAME"),
            *deferred(kernels),
            *kernels.extremes(x),
            *waiting(kernels),
        ]

    for one, other in zip(results(alone), results(many), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_compiler_a_sentence_says_so(monkeypatch):
    monkeypatch.setattr(building, "COMPILERS", ())
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(building.NativeBuildError, match=r"need a C\+\+ compiler"):
        use_native_kernels()
    assert native_operators() is None


def test_a_compiler_that_fails_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(building.NativeBuildError, match="were not built"):
        use_native_kernels()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
