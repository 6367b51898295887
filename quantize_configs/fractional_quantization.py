"""BatchQuant with a fractional zero point, computed as its official release computes it.

    q     = round(clip(x * gamma / D + z_B + beta, qmin, qmax))
    x_hat = (q - z_B - beta) * D / gamma

Every operation is float32 and in this order, so that the codes are those of the release wherever
its inputs are.
"""

from typing import NamedTuple

import tensorflow as tf

LOG_TWO = 0.6931471805599453


class FractionalGrid(NamedTuple):
    """Where codes lie: float32 scalars, as the formulas above name them."""

    step: tf.Tensor
    factor: tf.Tensor
    zero_point: tf.Tensor
    offset: tf.Tensor
    qmin: tf.Tensor
    qmax: tf.Tensor

    def merged(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """(D / gamma, z_B + beta, qmin, qmax)."""
        return self.step / self.factor, self.zero_point + self.offset, self.qmin, self.qmax


def exact_factor(theta: tf.Tensor) -> tf.Tensor:
    """gamma = log2(1 + 2^theta), each of its four operations rounded to float32.

    The elementary functions are computed in float64: those of float32 err by a last bit or two.
    """

    @tf.custom_gradient
    def factor(theta):
        power = tf.exp(tf.cast(theta * LOG_TWO, tf.float64))
        logarithm = tf.math.log1p(tf.cast(tf.cast(power, tf.float32), tf.float64))
        share = tf.math.sigmoid(theta * LOG_TWO)
        logarithm = tf.cast(logarithm, tf.float32)
        return divide_by_constant(logarithm, LOG_TWO), lambda upstream: upstream * share

    return factor(theta)


def divide_by_constant(x: tf.Tensor, divisor: float) -> tf.Tensor:
    """x / divisor, rounded once: graph optimization turns a plain division into a product."""
    return tf.math.divide_no_nan(x, divisor)


def quantize_fractional(
    x: tf.Tensor, grid: FractionalGrid, enabled: tf.Tensor | None = None
) -> tf.Tensor:
    """Rounds `x` to a grid, straight-through.

    Gradients, with `inside` where the code before clipping lies in [qmin, qmax]:
      d x_hat / d x      = 1 inside, 0 outside
      d x_hat / d gamma  = (x - x_hat) / gamma inside, -x_hat / gamma outside
      d x_hat / d beta   = 0 inside, -D / gamma outside
    None for the other numbers of the grid, which come from the range of the batch.

    Args:
      x: Tensor of any shape and floating dtype.
      grid: Its numbers.
      enabled: bool scalar; where it is false, `x` is returned and the grid gets no gradient.

    Returns:
      Tensor with the shape and dtype of `x`.
    """
    switchable = enabled is not None

    @tf.custom_gradient
    def quantized(*arguments):
        # Made in this very graph, as in `fake_quantize`.
        x, step, factor, zero_point, offset, qmin, qmax, enabled = map(tf.identity, arguments)
        position = x * factor / step + zero_point + offset
        clipped = tf.raw_ops.ClipByValue(t=position, clip_value_min=qmin, clip_value_max=qmax)
        x_hat = (tf.round(clipped) - zero_point - offset) * step / factor
        select = tf.raw_ops.Select
        result = select(condition=enabled, x=x_hat, y=x) if switchable else x_hat

        def gradient(upstream):
            inside = tf.equal(position, clipped)
            to_x = select(condition=inside, x=upstream, y=tf.zeros_like(upstream))
            to_factor = (tf.reduce_sum(to_x * x) - tf.reduce_sum(upstream * x_hat)) / factor
            to_offset = (tf.reduce_sum(to_x) - tf.reduce_sum(upstream)) * step / factor
            if switchable:
                to_x = select(condition=enabled, x=to_x, y=upstream)
                to_factor = tf.where(enabled, to_factor, 0.0)
                to_offset = tf.where(enabled, to_offset, 0.0)
            return to_x, None, to_factor, None, to_offset, None, None, None

        return result, gradient

    switch = enabled if switchable else tf.constant(True)
    return tf.cast(quantized(tf.cast(x, tf.float32), *grid, switch), x.dtype)
