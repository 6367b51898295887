"""The operators of the C++ files of this folder, once a program has asked for them.

TensorFlow knows operators per process, so the choice is one of the process, too: nothing is built
or loaded unless `use_native_kernels` is called. Without it every formula runs on TensorFlow's own
operators, which are the reference: codes, quantized values and gradients of inputs are equal to
the last bit; sums, normalization and convolutions to float32 rounding.
"""

import contextlib
import contextvars
import functools
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from quantize_configs.native.building import build
from quantize_configs.native.deferred import DeferredNormalization

FUSED_ACTIVATIONS = ("linear", "relu", "relu6", "hard_swish")
"""In the order in which `normalization.h` numbers them."""

_loaded: list["NativeOperators"] = []
_left_out = contextvars.ContextVar("without_native_kernels", default=False)


class NativeOperators:
    """The operators of one library.

    Args:
      library: What `tf.load_op_library` returned.
      threads: Most threads that one operator uses.
    """

    def __init__(self, library: Any, threads: int):
        self._library = library
        self._threads = threads

    def extremes(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Smallest and largest value of every channel, float32 [C] each, in one pass."""
        low, high = self._library.qfa_extremes(x=x, threads=self._threads)
        for value in (low, high):
            value.set_shape([x.shape[-1]])
        return low, high

    def fake_quantize(self, x, scale, zero_point, qmin, qmax, enabled) -> tf.Tensor:
        """`fake_quantize` on an integer zero point, in one pass; no gradient of its own."""
        return self._library.qfa_fake_quantize(
            x=x,
            scale=scale,
            zero_point=zero_point,
            qmin=qmin,
            qmax=qmax,
            enabled=enabled,
            threads=self._threads,
        )

    def fake_quantize_gradient(
        self, upstream, x, scale, zero_point, qmin, qmax, enabled, pass_at_bounds: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Gradients of x, scale and zero point in one pass; codes are computed anew."""
        to_x, to_scale, to_zero_point = self._library.qfa_fake_quantize_gradient(
            upstream=upstream,
            x=x,
            scale=scale,
            zero_point=zero_point,
            qmin=qmin,
            qmax=qmax,
            enabled=enabled,
            pass_at_bounds=pass_at_bounds,
            threads=self._threads,
        )
        for value in (to_scale, to_zero_point):
            value.set_shape([])
        return to_x, to_scale, to_zero_point

    def normalize(
        self, x, gamma, beta, epsilon: float, activation: str, stop_constant: bool
    ) -> tf.Tensor:
        """Batch normalization with the statistics of the batch, and the activation, in two passes.

        So is the gradient, which computes the activation anew. Channels with a variance below 1e-8
        pass no gradient to x where `stop_constant` is set.

        Args:
          x: float32 [..., C].
          gamma: float32 [C].
          beta: float32 [C].
          epsilon: Added to the biased variance.
          activation: One of `FUSED_ACTIVATIONS`.
          stop_constant: See above.
        """
        settings = self._normalization_settings(epsilon, activation, stop_constant)

        @tf.custom_gradient
        def normalized(x, gamma, beta):
            # Made in this very graph, as in `fake_quantize`.
            x, gamma, beta = tf.identity(x), tf.identity(gamma), tf.identity(beta)
            y, mean, variance = self._library.qfa_normalize(x=x, gamma=gamma, beta=beta, **settings)

            def gradient(upstream):
                to_x, *sums = self._library.qfa_normalize_gradient(
                    upstream=upstream,
                    x=x,
                    gamma=gamma,
                    beta=beta,
                    mean=mean,
                    variance=variance,
                    **settings,
                )
                for value in sums:
                    value.set_shape(gamma.shape)
                return to_x, *sums

            return y, gradient

        return normalized(x, gamma, beta)

    def defer_normalization(
        self, x, gamma, beta, epsilon: float, activation: str, stop_constant: bool
    ) -> DeferredNormalization:
        """`normalize` for a reader that quantizes the result."""
        arguments = x, gamma, beta, epsilon, activation, stop_constant
        settings = self._normalization_settings(epsilon, activation, stop_constant)
        return DeferredNormalization(
            self._library, x, gamma, beta, settings, lambda: self.normalize(*arguments)
        )

    def _normalization_settings(self, epsilon, activation, stop_constant) -> dict[str, Any]:
        return {
            "epsilon": epsilon,
            "activation": FUSED_ACTIVATIONS.index(activation),
            "stop_constant": stop_constant,
            "threads": self._threads,
        }

    def convolve_depthwise(self, x, kernel, stride: int, padding: str) -> tf.Tensor:
        """`tf.nn.depthwise_conv2d` of float32 tensors; both gradients come from one operator.

        Args:
          x: float32 [N, H, W, C].
          kernel: float32 [rows, columns, C, 1].
          stride: In both directions.
          padding: "SAME" or "VALID".
        """
        settings = {"stride": stride, "same": padding == "SAME", "threads": self._threads}

        @tf.custom_gradient
        def convolved(x, kernel):
            # Made in this very graph, as in `fake_quantize`.
            x, kernel = tf.identity(x), tf.identity(kernel)

            def gradient(upstream):
                to_x, to_kernel = self._library.qfa_depthwise_gradient(
                    upstream=upstream, x=x, kernel=kernel, **settings
                )
                to_kernel.set_shape(kernel.shape)
                return to_x, to_kernel

            y = self._library.qfa_depthwise(x=x, kernel=kernel, **settings)
            y.set_shape([x.shape[0], None, None, x.shape[-1]])
            return y, gradient

        return convolved(x, kernel)


def use_native_kernels() -> None:
    """Builds the kernels if need be, and lets graphs that are traced from now on use them.

    On CPUs, in float32, and outside of `jit_compile=True`. The setting is one of the process.

    Raises:
      NativeBuildError: They cannot be built here.
    """
    if not _loaded:
        _loaded.append(NativeOperators(_library(str(build())), _threads()))


def native_operators() -> NativeOperators | None:
    """The operators that graphs are to use; None unless `use_native_kernels` was called."""
    return _loaded[0] if _loaded and not _left_out.get() else None


@contextlib.contextmanager
def without_native_kernels() -> Iterator[None]:
    """What is traced within uses TensorFlow's own operators, which XLA compiles."""
    token = _left_out.set(True)
    try:
        yield
    finally:
        _left_out.reset(token)


def ignore_native_kernels() -> None:
    """Undoes `use_native_kernels` for graphs that are traced from now on."""
    _loaded.clear()


@functools.cache
def _library(path: str) -> Any:
    """A library can be loaded once only."""
    return tf.load_op_library(path)


def _threads() -> int:
    """As many as TensorFlow takes for its own operators."""
    asked = tf.config.threading.get_intra_op_parallelism_threads()
    return asked or int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0)) or os.cpu_count() or 1
