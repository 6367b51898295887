"""XNNPACK's rounding (src/microparams-init.c, src/operators/reduce-nd.c)."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from quantize_configs.kernels.target import Function, Kernels, Sums, Target, codes_of, zero_code
from quantize_configs.tensor_grids import Grid

_BITS = 8


def _linear(sums: Sums, target: Target) -> Function:
    """rint(f32(sum) * (sx * sw[c] / sy))."""
    multipliers = tf.constant(sums.step * sums.scales / target.step)
    return lambda x: target.values(tf.round(tf.cast(x, tf.float32) * multipliers))


def _add(sources: Sequence[Grid], target: Target) -> Function | None:
    """Common fixed-point multipliers of about 20 bits, one rounding, half up."""
    ratios = [np.float32(step) / target.step for step, _, _ in sources]
    shift = 20 - (math.frexp(float(max(ratios)))[1] - 1)
    if shift < 1:
        return None
    multipliers = [int(np.rint(np.ldexp(ratio, shift))) for ratio in ratios]

    def run(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        total = tf.constant(1 << (shift - 1))
        for x, (step, _, _), multiplier in zip(inputs, sources, multipliers, strict=True):
            total += tf.cast(codes_of(x, step), tf.int32) * multiplier
        return target.values(tf.cast(tf.bitwise.right_shift(total, shift), tf.float32))

    return run


def _multiply(sources: Sequence[Grid], target: Target) -> Function | None:
    """One float32 multiplier, ties to even."""
    (left, _, _), (right, _, _) = sources
    scale = np.float32(left) * np.float32(right) / target.step

    def run(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        product = codes_of(inputs[0], left) * codes_of(inputs[1], right)
        return target.values(tf.round(product * scale))

    return run


def _mean(source: Grid, count: int, keepdims: bool, target: Target) -> Function | None:
    """Zero points are folded into one float32 offset before the rounding."""
    step, _, bits = source
    if bits != _BITS:
        return None
    code_of_zero = zero_code(source)
    scale = (np.float32(step) / target.step) * (np.float32(1) / np.float32(count))
    shift = np.float32(count) * np.float32(code_of_zero) * scale
    offset = np.float32(target.zero_point) - shift

    def run(x: tf.Tensor) -> tf.Tensor:
        codes = tf.cast(codes_of(x, step), tf.int32) + code_of_zero
        totals = tf.cast(tf.reduce_sum(codes, [1, 2], keepdims=keepdims), tf.float32)
        return target.values(tf.round(totals * scale + offset) - target.zero_point)

    return run


XNNPACK = Kernels(_linear, _add, _multiply, _mean)
