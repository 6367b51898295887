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
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from quantize_configs.native.building import NativeBuildError, build, is_built
from quantize_configs.native.deferred import DeferredNormalization, DeferredScaling
from quantize_configs.native.gradients import register

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

    def grid(self, scale, zero_point, qmin, qmax, enabled) -> tf.Tensor:
        """A grid as the operators take it, float32 [5]."""
        return tf.stack([scale, zero_point, qmin, qmax, tf.cast(enabled, tf.float32)])

    def batch_grid(
        self, low, high, qmin, qmax, factor, offset, *, enabled, nearest: bool
    ) -> tf.Tensor:
        """The grid of `BatchQuantizer.grid_from` for integer zero points, float32 [5].

        Its only gradient is that of the factor.
        """
        grid = self._library.qfa_batch_grid(
            low=low,
            high=high,
            qmin=qmin,
            qmax=qmax,
            factor=factor,
            offset=offset,
            enabled=enabled,
            nearest=nearest,
        )
        grid.set_shape([5])
        return grid

    def fake_quantize(self, x, grid, pass_at_bounds: bool = True) -> tf.Tensor:
        """`fake_quantize` on an integer zero point; it and its gradients take one pass each."""
        return self._library.qfa_fake_quantize(
            x=x, grid=grid, pass_at_bounds=pass_at_bounds, threads=self._threads
        )

    def quantize_channels(self, x, steps, qmin, qmax, enabled, pass_at_bounds: bool) -> tf.Tensor:
        """`fake_quantize` without zero point on steps of the last channels, in one pass each.

        Args:
          x: float32 tensor.
          steps: float32, with the last dimensions of `x` after ones.
          qmin: float32 scalar, smallest code.
          qmax: float32 scalar, largest code.
          enabled: bool scalar.
          pass_at_bounds: See `fake_quantize`.
        """
        return self._library.qfa_quantize_channels(
            x=x,
            steps=steps,
            qmin=qmin,
            qmax=qmax,
            enabled=enabled,
            pass_at_bounds=pass_at_bounds,
            threads=self._threads,
        )

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
        return self._library.qfa_normalize(x=x, gamma=gamma, beta=beta, **settings)[0]

    def defer_normalization(
        self, x, gamma, beta, epsilon: float, activation: str, stop_constant: bool
    ) -> DeferredNormalization:
        """`normalize` for a reader that quantizes the result."""
        arguments = x, gamma, beta, epsilon, activation, stop_constant
        settings = self._normalization_settings(epsilon, activation, stop_constant)
        return DeferredNormalization(
            self._library, x, gamma, beta, settings, lambda: self.normalize(*arguments)
        )

    def scale(self, x, scale, offset, activation: str) -> DeferredScaling:
        """The activation of `x * scale + offset`, for a reader that may quantize it.

        Args:
          x: float32 [..., C].
          scale: float32 [C].
          offset: float32 [C].
          activation: One of `FUSED_ACTIVATIONS`.
        """
        settings = {"activation": FUSED_ACTIVATIONS.index(activation), "threads": self._threads}
        return DeferredScaling(self._library, x, scale, offset, settings)

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
        y = self._library.qfa_depthwise(
            x=x, kernel=kernel, stride=stride, same=padding == "SAME", threads=self._threads
        )
        y.set_shape([x.shape[0], None, None, x.shape[-1]])
        return y

    def multiply_channels(self, x: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
        """The channels of each place times a matrix.

        Args:
          x: float32 [..., C].
          matrix: float32 [C, D].

        Returns:
          float32 [..., D].
        """
        rows = self._library.qfa_rows(x=x)
        rows.set_shape([None, x.shape[-1]])
        y = self._library.qfa_like_rows(rows=tf.matmul(rows, matrix), like=x)
        y.set_shape([*x.shape[:-1], matrix.shape[-1]])
        return y

    def take(self, values: tf.Tensor, widths: Mapping[int, tf.Tensor]) -> tf.Tensor:
        """The leading part of a weight.

        Args:
          values: float32 tensor of static shape.
          widths: int32 [1] of what is taken, by one or two axes.
        """
        axes = sorted(widths)
        part = self._library.qfa_take(
            values=values,
            one=widths[axes[0]],
            other=widths[axes[-1]],
            first=axes[0],
            second=axes[1] if len(axes) > 1 else -1,
            shape=values.shape.as_list(),
        )
        sizes = [None if axis in widths else size for axis, size in enumerate(values.shape)]
        part.set_shape(sizes)
        return part

    def elastic_kernel(self, kernel, width, size, matrices: Mapping[int, tf.Tensor]) -> tf.Tensor:
        """A depthwise kernel out of the largest one, as `KernelTransform` makes it.

        Args:
          kernel: float32 [K, K, C, 1].
          width: int32 [1], channels.
          size: int32 scalar, K or one of `matrices`.
          matrices: float32 [size * size, size * size] by size, from the centre of the next larger
            kernel.

        Returns:
          float32 [size, size, width, 1].
        """
        sizes = sorted(matrices)
        chosen = self._library.qfa_elastic_kernel(
            kernel=kernel,
            width=width,
            size=size,
            matrices=[tf.convert_to_tensor(matrices[one]) for one in sizes],
            sizes=[*sizes, kernel.shape[0]],
            shape=kernel.shape.as_list(),
        )
        chosen.set_shape([None, None, None, 1])
        return chosen


def use_native_kernels() -> None:
    """Builds the kernels if need be, and lets graphs that are traced from now on use them.

    On CPUs, in float32, and outside of `jit_compile=True`. The setting is one of the process.

    Raises:
      NativeBuildError: They cannot be built here.
    """
    if not _loaded:
        _loaded.append(_new_operators())


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


@contextlib.contextmanager
def native_kernels_at_hand() -> Iterator[None]:
    """What is traced within uses native kernels if they are compiled already and there is no GPU.

    For passes without gradients, whose results are the same to the last bit where TensorFlow runs
    graphs as they are written.
    """
    before = bool(_loaded)
    if not before and (found := _operators_at_hand()) is not None:
        _loaded.append(found)
    try:
        yield
    finally:
        if not before:
            ignore_native_kernels()


@functools.cache
def _operators_at_hand() -> NativeOperators | None:
    """Once for a process: what is asked for each subnet of a search must cost nothing."""
    try:
        if is_built() and not tf.config.list_logical_devices("GPU"):
            return _new_operators()
    except NativeBuildError:
        pass
    return None


def _new_operators() -> NativeOperators:
    return NativeOperators(_library(str(build())), _threads())


def ignore_native_kernels() -> None:
    """Undoes `use_native_kernels` for graphs that are traced from now on."""
    _loaded.clear()


@functools.cache
def _library(path: str) -> Any:
    """A library can be loaded once only."""
    library = tf.load_op_library(path)
    register(library)
    return library


def _threads() -> int:
    """As many as TensorFlow takes for its own operators."""
    asked = tf.config.threading.get_intra_op_parallelism_threads()
    return asked or int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0)) or os.cpu_count() or 1
