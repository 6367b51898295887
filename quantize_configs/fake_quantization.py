"""The differentiable fake-quantization core that every quantizer uses.

    x_hat = (round(clip(x / scale + zero_point, qmin, qmax)) - zero_point) * scale

All of `scale`, `zero_point`, `qmin` and `qmax` are tensors, so one traced graph serves every
bit-width. The arithmetic is float32 under any compute dtype.
"""

import numpy as np
import tensorflow as tf

from quantize_configs.native.deferred import DeferredMap, computed
from quantize_configs.native.operators import NativeOperators, native_operators

FLOAT_BITS = 32


def code_limits(
    bits: tf.Tensor | int, *, signed: bool, narrow_bits: tuple[int, ...] = ()
) -> tuple[tf.Tensor, tf.Tensor]:
    """Smallest and largest integer code of a bit-width.

    Args:
      bits: int32 scalar, 1 to 16.
      signed: Codes are [-2^(b-1), 2^(b-1) - 1] when true, [0, 2^b - 1] otherwise.
      narrow_bits: Bit-widths at which signed codes leave out the most negative one.

    Returns:
      (qmin, qmax), float32 scalars.
    """
    if isinstance(bits, int):  # nothing to compute
        low = -(2 ** (bits - 1)) + (bits in narrow_bits) if signed else 0
        return tf.constant(float(low)), tf.constant(float(2 ** (bits - signed) - 1))
    bits = tf.convert_to_tensor(bits, tf.int32)
    if not signed:
        return tf.zeros([]), tf.cast(tf.bitwise.left_shift(1, bits) - 1, tf.float32)
    half = tf.cast(tf.bitwise.left_shift(1, bits - 1), tf.float32)
    low = -half
    if narrow_bits:
        low += tf.cast(tf.reduce_any(tf.equal(bits, list(narrow_bits))), tf.float32)
    return low, half - 1.0


def round_straight_through(x: tf.Tensor) -> tf.Tensor:
    """Rounds half to even; the gradient passes unchanged."""

    @tf.custom_gradient
    def rounded(value):
        return tf.round(value), lambda upstream: upstream

    return rounded(x)


def scale_gradient(x: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Identity whose gradient is multiplied by `factor` (LSQ, section 2.2 of the paper)."""

    @tf.custom_gradient
    def identity(value, factor):
        factor = tf.identity(factor)  # see fake_quantize
        return tf.identity(value), lambda upstream: (upstream * factor, None)

    return identity(x, factor)


def fake_quantize(
    x: tf.Tensor | DeferredMap,
    scale: tf.Tensor,
    zero_point: tf.Tensor | None,
    qmin: tf.Tensor,
    qmax: tf.Tensor,
    *,
    integer_zero_point: bool = False,
    pass_at_bounds: bool = True,
    enabled: tf.Tensor | None = None,
) -> tf.Tensor:
    """Rounds `x` to the grid `(code - zero_point) * scale`, straight-through.

    Gradients, with `inside` where the code before clipping lies in [qmin, qmax]:
      d x_hat / d x          = 1 inside, 0 outside
      d x_hat / d scale      = (x_hat - x) / scale inside, x_hat / scale outside
      d x_hat / d zero_point = 0 inside, -scale outside

    These are LSQ's (equation 3) for `zero_point=None` and BatchQuant's after the chain rule
    through scale = D / gamma.

    Args:
      x: Tensor of any shape and floating dtype.
      scale: float32 step, positive; a scalar or a shape that broadcasts to `x`.
      zero_point: float32 code of real zero, or None for 0.
      qmin: float32 scalar, smallest code.
      qmax: float32 scalar, largest code.
      integer_zero_point: Whether `zero_point` holds integers and `scale` is a scalar, which takes
        a third of the passes over the tensor; implied by a scalar `scale` without `zero_point`.
      pass_at_bounds: Whether `x` exactly at a bound still receives its gradient (BatchQuant) or
        not (LSQ).
      enabled: bool scalar; where it is false, `x` is returned and the grid gets no gradient.

    Returns:
      Tensor with the shape and dtype of `x`.
    """
    compute_dtype = x.dtype
    scale = tf.cast(scale, tf.float32)
    shifted, switchable = zero_point is not None, enabled is not None
    on_integers = scale.shape.rank == 0 and (integer_zero_point or not shifted)
    native = native_operators()
    zero = tf.cast(zero_point, tf.float32) if shifted else tf.zeros([])
    grid = scale, zero, qmin, qmax, enabled if switchable else tf.constant(True)
    if native is not None and on_integers:
        return quantize_natively(native, x, native.grid(*grid), pass_at_bounds)
    x = computed(x)
    if native is not None and not shifted and _is_of_channels(scale.shape, x.shape):
        by_channel = scale, qmin, qmax, grid[-1], pass_at_bounds
        x_hat = native.quantize_channels(tf.cast(x, tf.float32), *by_channel)
        return tf.cast(x_hat, compute_dtype)
    quantize = _quantize_on_integers if on_integers else _quantize_on_any_grid

    @tf.custom_gradient
    def quantized(*arguments):
        # What the gradient uses must be made in this very graph: tensors of an outer graph, as
        # arguments and closures may be, break the gradient of nested tf.cond.
        x, scale, zero_point, qmin, qmax, enabled = map(tf.identity, arguments)
        enabled = enabled if switchable else None
        x_hat, inside, of_scale = quantize(x, scale, zero_point, qmin, qmax, pass_at_bounds)
        # The old operator copies the chosen tensor; SelectV2 walks through both.
        select = tf.raw_ops.Select
        result = select(condition=enabled, x=x_hat, y=x) if switchable else x_hat

        def gradient(upstream):
            # Few passes over the tensor: activations are large and these run at memory speed.
            to_x = select(condition=inside(), x=upstream, y=tf.zeros_like(upstream))
            to_scale = of_scale(upstream, to_x)
            to_zero_point = None
            if shifted and on_integers:
                to_zero_point = (tf.reduce_sum(to_x) - tf.reduce_sum(upstream)) * scale
            elif shifted:
                to_zero_point = _sum_to((to_x - upstream) * scale, zero_point)
            if switchable:
                to_x = select(condition=enabled, x=to_x, y=upstream)
                to_scale = tf.where(enabled, to_scale, 0.0)
                if shifted:
                    to_zero_point = tf.where(enabled, to_zero_point, 0.0)
            return to_x, to_scale, to_zero_point, None, None, None

        return result, gradient

    x_hat = quantized(tf.cast(x, tf.float32), *grid)
    return tf.cast(x_hat, compute_dtype)


def quantize_natively(
    native: NativeOperators,
    x: tf.Tensor | DeferredMap,
    grid: tf.Tensor,
    pass_at_bounds: bool = True,
) -> tf.Tensor:
    """`fake_quantize` on a grid that is one tensor.

    Args:
      native: The operators.
      x: Tensor of any shape and floating dtype.
      grid: float32 [5], of `native`.
      pass_at_bounds: See `fake_quantize`.

    Returns:
      Tensor with the shape and dtype of `x`.
    """
    if isinstance(x, DeferredMap) and pass_at_bounds:
        return x.fake_quantize(grid)
    x = computed(x)
    x_hat = native.fake_quantize(tf.cast(x, tf.float32), grid, pass_at_bounds)
    return tf.cast(x_hat, x.dtype)


def _is_of_channels(steps: tf.TensorShape, x: tf.TensorShape) -> bool:
    """Whether steps have the last dimensions of a tensor, after ones."""
    if steps.rank != x.rank or not (steps.is_fully_defined() and x.is_fully_defined()):
        return False
    sizes = list(steps)
    first = next((axis for axis, size in enumerate(sizes) if size != 1), len(sizes))
    return sizes[first:] == list(x)[first:]


def _quantize_on_integers(x, scale, zero_point, qmin, qmax, pass_at_bounds):
    """The scalar grid whose zero point is an integer: zero lies on it, so no shift is needed.

    Returns:
      (x_hat, inside, of_scale): functions for the mask of unclipped values and for the gradient
      of the scale.
    """
    low, high = (qmin - zero_point) * scale, (qmax - zero_point) * scale
    clipped = tf.raw_ops.ClipByValue(t=x, clip_value_min=low, clip_value_max=high)
    # One kernel for round(x / scale) * scale. Its own 16-bit grid is wide enough for all codes;
    # the lower end decides its scale, and a power of two keeps that exact.
    # The kernel refuses a grid that is not finite, in the middle of a step: it gets another one,
    # and the gradient of the scale tells of it.
    is_finite = tf.math.is_finite(scale * 2.0**15)
    step = tf.where(is_finite, scale, 1.0)
    x_hat = tf.raw_ops.QuantizeAndDequantizeV2(
        input=clipped,
        input_min=step * -(2.0**15),
        input_max=step * (2.0**15 - 2.0),
        signed_input=True,
        num_bits=16,
        range_given=True,
        round_mode="HALF_TO_EVEN",
    )

    def inside():
        return tf.equal(x, clipped) if pass_at_bounds else (x > low) & (x < high)

    def of_scale(upstream, to_x):
        # sum of upstream * (x_hat - x inside) without the mask's own passes
        divisor = tf.where(is_finite, scale, np.nan)
        return (tf.reduce_sum(upstream * x_hat) - tf.reduce_sum(to_x * x)) / divisor

    return x_hat, inside, of_scale


def _quantize_on_any_grid(x, scale, zero_point, qmin, qmax, pass_at_bounds):
    """Any grid, as written in the docstring of the module; see `_quantize_on_integers`."""
    position = x / scale + zero_point
    clipped = tf.raw_ops.ClipByValue(t=position, clip_value_min=qmin, clip_value_max=qmax)
    codes = tf.round(clipped)

    def inside():
        if pass_at_bounds:
            return tf.equal(position, clipped)
        return (position > qmin) & (position < qmax)

    def of_scale(upstream, to_x):
        steps = codes - tf.where(inside(), position, zero_point)
        return _sum_to(upstream * steps, scale)

    return (codes - zero_point) * scale, inside, of_scale


def _sum_to(gradient: tf.Tensor, parameter: tf.Tensor) -> tf.Tensor:
    """Sums a gradient over the axes along which `parameter` was broadcast."""
    if parameter.shape.rank == 0:
        return tf.reduce_sum(gradient)
    _, axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(gradient), s1=tf.shape(parameter))
    return tf.reshape(tf.reduce_sum(gradient, axes), tf.shape(parameter))
