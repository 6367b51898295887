"""The gradient of each native operator, which is one operator, too.

Said to TensorFlow by operator and not by `tf.custom_gradient`, which would make copies of all
inputs and outputs, and hand all of them from the branches of a supernet to their gradients.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

CONSTANT = ("QfaExtremes", "QfaNormalizeMoments", "QfaScaleExtremes")
"""Operators whose results pass no gradient."""

NORMALIZATION = ("epsilon", "activation", "stop_constant")
"""Attributes of the operators that normalize."""


class Gradients:
    """Functions of (operator, gradients of its outputs) for the gradients of its inputs.

    Args:
      library: What `tf.load_op_library` returned.
    """

    def __init__(self, library: Any):
        self._library = library

    def batch_grid(self, operator, to_grid):
        """Of the factor alone; that of an integer offset is zero, see `BatchQuantizer.offset`."""
        factor, offset = operator.inputs[4:6]
        to_factor = self._library.qfa_batch_grid_gradient(
            to_grid=to_grid, grid=operator.outputs[0], factor=factor
        )
        (to_factor,) = _shaped([to_factor], [factor])
        return None, None, None, None, to_factor, tf.zeros_like(offset), None

    def fake_quantize(self, operator, upstream):
        """Of the tensor and of the grid; codes are computed anew."""
        x, grid = operator.inputs
        found = self._library.qfa_fake_quantize_gradient(
            upstream=upstream, x=x, grid=grid, **_settings(operator, "pass_at_bounds")
        )
        return _shaped(found, operator.inputs)

    def quantize_channels(self, operator, upstream):
        """Of the tensor and of the steps."""
        x, steps, qmin, qmax, enabled = operator.inputs
        found = self._library.qfa_quantize_channels_gradient(
            upstream=upstream,
            x=x,
            steps=steps,
            qmin=qmin,
            qmax=qmax,
            enabled=enabled,
            **_settings(operator, "pass_at_bounds"),
        )
        return *_shaped(found, (x, steps)), None, None, None

    def normalize(self, operator, upstream, *_):
        """Of what is normalized, gain and offset; the activation is computed anew."""
        x, gamma, beta = operator.inputs
        _, mean, variance = operator.outputs
        to_x, *sums = self._library.qfa_normalize_gradient(
            upstream=upstream,
            x=x,
            gamma=gamma,
            beta=beta,
            mean=mean,
            variance=variance,
            **_settings(operator, *NORMALIZATION),
        )
        return to_x, *_shaped(sums, (gamma, beta))

    def normalize_quantize(self, operator, upstream):
        """Of what is normalized, gain, offset, and the grid."""
        names = ("x", "gamma", "beta", "mean", "variance", "grid")
        inputs = dict(zip(names, operator.inputs, strict=True))
        to_x, *others = self._library.qfa_normalize_quantize_gradient(
            upstream=upstream, **inputs, **_settings(operator, *NORMALIZATION)
        )
        to_gamma, to_beta, to_grid = _shaped(
            others, [inputs[name] for name in ("gamma", "beta", "grid")]
        )
        return to_x, to_gamma, to_beta, None, None, to_grid

    def scale(self, operator, upstream):
        """Of map, scale and offset, by TensorFlow's operators; training has none of these."""
        inputs, activation = operator.inputs, operator.get_attr("activation")
        return _gradient_of(functools.partial(_scaled, activation=activation), inputs, upstream)

    def scale_quantize(self, operator, upstream):
        """See `scale`; and of the grid."""
        activation, threads = operator.get_attr("activation"), operator.get_attr("threads")

        def quantized(x, scale, offset, grid):
            y = _scaled(x, scale, offset, activation)
            return self._library.qfa_fake_quantize(x=y, grid=grid, threads=threads)

        return _gradient_of(quantized, operator.inputs, upstream)

    def depthwise(self, operator, upstream):
        """Of images and kernel."""
        x, kernel = operator.inputs
        to_x, to_kernel = self._library.qfa_depthwise_gradient(
            upstream=upstream, x=x, kernel=kernel, **_settings(operator, "stride", "same")
        )
        return to_x, *_shaped([to_kernel], [kernel])

    def rows(self, operator, upstream):
        """Of the map."""
        (x,) = operator.inputs
        return _shaped([self._library.qfa_like_rows(rows=upstream, like=x)], [x])

    def like_rows(self, operator, upstream):
        """Of the rows."""
        rows, _ = operator.inputs
        return *_shaped([self._library.qfa_rows(x=upstream)], [rows]), None

    def take(self, operator, upstream):
        """Of the whole weight: zeros where nothing was taken."""
        _, one, other = operator.inputs
        to_values = self._library.qfa_take_gradient(
            upstream=upstream,
            one=one,
            other=other,
            **_settings(operator, "first", "second", "shape"),
        )
        return *_shaped([to_values], operator.inputs[:1]), None, None

    def elastic_kernel(self, operator, upstream):
        """Of the largest kernel and of the matrices."""
        kernel, width, size, *matrices = operator.inputs
        to_kernel, to_matrices = self._library.qfa_elastic_kernel_gradient(
            upstream=upstream,
            kernel=kernel,
            width=width,
            size=size,
            matrices=matrices,
            **_settings(operator, "sizes", "shape"),
        )
        to_kernel, *to_matrices = _shaped([to_kernel, *to_matrices], [kernel, *matrices])
        return to_kernel, None, None, *to_matrices


@functools.cache
def register(library: Any) -> None:
    """Tells TensorFlow, which knows operators per process, once."""
    gradients = Gradients(library)
    for name, function in (
        ("QfaBatchGrid", gradients.batch_grid),
        ("QfaFakeQuantize", gradients.fake_quantize),
        ("QfaQuantizeChannels", gradients.quantize_channels),
        ("QfaNormalize", gradients.normalize),
        ("QfaNormalizeQuantize", gradients.normalize_quantize),
        ("QfaScale", gradients.scale),
        ("QfaScaleQuantize", gradients.scale_quantize),
        ("QfaDepthwise", gradients.depthwise),
        ("QfaRows", gradients.rows),
        ("QfaLikeRows", gradients.like_rows),
        ("QfaTake", gradients.take),
        ("QfaElasticKernel", gradients.elastic_kernel),
    ):
        tf.RegisterGradient(name)(function)
    for name in CONSTANT:
        tf.no_gradient(name)


ACTIVATIONS: tuple[Callable[[tf.Tensor], tf.Tensor], ...] = (
    tf.identity,
    tf.nn.relu,
    tf.nn.relu6,
    lambda x: x * (tf.nn.relu6(x + 3.0) * (1.0 / 6.0)),
)
"""In the order in which `normalization.h` numbers them."""


def _scaled(x, scale, offset, activation: int) -> tf.Tensor:
    return ACTIVATIONS[activation](x * scale + offset)


def _gradient_of(function, inputs, upstream):
    """Gradients of a function of some inputs, which it computes anew."""
    with tf.GradientTape() as tape:
        tape.watch(list(inputs))
        y = function(*inputs)
    return tape.gradient(y, list(inputs), output_gradients=upstream)


def _settings(operator, *names: str) -> dict[str, Any]:
    """Attributes of an operator that its gradient has, too."""
    return {name: operator.get_attr(name) for name in ("threads", *names)}


def _shaped(values, like):
    """`values`, said to have the shapes of `like`."""
    for value, source in zip(values, like, strict=True):
        value.set_shape(source.shape)
    return values
