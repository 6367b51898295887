"""The rounding of LiteRT's built-in kernels on x86-64 and of its reference kernels.

They multiply by 31-bit integers and round twice (`multipliers`). What the built-in ones compute in
vector loops they round half up, the rest with ties away from zero; images come one by one, as on a
phone, which decides where a loop ends. (LiteRT tflite/kernels/internal: common.h,
optimized/integer_ops, reference/integer_ops, reduce.h, requantize.h.)
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from quantize_configs.kernels.multipliers import quantize_multiplier
from quantize_configs.kernels.scaling import Integers, Scaling, half_away, half_up
from quantize_configs.kernels.target import Function, Kernels, Sums, Target, codes_of, zero_code
from quantize_configs.tensor_grids import Grid

_BITS = 8
_DEPTHWISE_GROUP, _ADD_GROUP, _QUANTIZE_GROUP, _MEAN_GROUP = 8, 8, 16, 16
"""Elements per step of the vector loops."""
_ADD_LEFT_SHIFT = 20

Products = Callable[[tf.Tensor, np.ndarray], tf.Tensor]
"""From int64 sums and real multipliers, float64 [channels], to codes that count from zero."""


def _scaled(scaling: Scaling) -> Products:
    return lambda sums, real: scaling(sums, *quantize_multiplier(real))


def _one_rounding(sums: tf.Tensor, real: np.ndarray) -> tf.Tensor:
    """One rounding of a float64 product, ties away from zero."""
    products = tf.cast(sums, tf.float64) * real
    whole = tf.math.sign(products) * tf.floor(tf.abs(products))
    away = tf.math.sign(products) * tf.cast(tf.abs(products - whole) >= 0.5, tf.float64)
    return tf.cast(whole + away, tf.int64)


def _by_groups(sums: tf.Tensor, real: np.ndarray) -> tf.Tensor:
    """Whole groups of channels half up, the rest of them with ties away from zero."""
    body = len(real) // _DEPTHWISE_GROUP * _DEPTHWISE_GROUP
    in_loop = np.arange(len(real)) < body
    multipliers = quantize_multiplier(real)
    return tf.where(in_loop, half_up(sums, *multipliers), half_away(sums, *multipliers))


def _linear(products: dict[str, Products], sums: Sums, target: Target) -> Function:
    real = np.float64(sums.step) * sums.scales.astype(np.float64) / np.float64(target.step)
    product = products[sums.operator]

    def run(x: tf.Tensor) -> tf.Tensor:
        return target.values(tf.cast(product(tf.cast(x, tf.int64), real), tf.float32))

    return run


def _within(x: tf.Tensor, group: int, inside: tf.Tensor, outside: tf.Tensor) -> tf.Tensor:
    """`inside` for the whole groups of an image's elements, `outside` for the rest of them."""
    shape = x.shape[1:]
    size = int(np.prod(shape))
    return tf.where((np.arange(size) < size // group * group).reshape(shape), inside, outside)


def _add(is_builtin: bool, sources: Sequence[Grid], target: Target) -> Function | None:
    """Inputs << 20, and three products; the vector loop shifts before it multiplies."""
    scales = [np.float64(np.float32(step)) for step, _, _ in sources]
    twice_max = 2.0 * max(scales)
    of_inputs = [quantize_multiplier(scale / twice_max) for scale in scales]
    of_sum = quantize_multiplier(twice_max / ((1 << _ADD_LEFT_SHIFT) * np.float64(target.step)))

    def shifted(values: tf.Tensor, multiplier: Integers, exponent: Integers) -> tf.Tensor:
        right = tf.constant(-exponent, tf.int64)
        return half_up(tf.bitwise.right_shift(values, right), multiplier, np.int64(0))

    def total(inputs: Sequence[tf.Tensor], scaling: Scaling) -> tf.Tensor:
        codes = [
            tf.cast(codes_of(x, step), tf.int64) * (1 << _ADD_LEFT_SHIFT)
            for x, (step, _, _) in zip(inputs, sources, strict=True)
        ]
        parts = [scaling(x, *pair) for x, pair in zip(codes, of_inputs, strict=True)]
        return half_away(parts[0] + parts[1], *of_sum)

    def run(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        result = total(inputs, half_away)
        if is_builtin:
            result = _within(result, _ADD_GROUP, total(inputs, shifted), result)
        return target.values(tf.cast(result, tf.float32))

    return run


def _multiply(sources: Sequence[Grid], target: Target) -> Function | None:
    (left, _, _), (right, _, _) = sources
    multipliers = quantize_multiplier(np.float32(left) * np.float32(right) / target.step)

    def run(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        product = codes_of(inputs[0], left) * codes_of(inputs[1], right)
        return target.values(tf.cast(half_away(product, *multipliers), tf.float32))

    return run


def _mean(
    is_builtin: bool, source: Grid, count: int, keepdims: bool, target: Target
) -> Function | None:
    """1 / count is folded into q by an integer division; with kept axes a vector loop."""
    step, _, bits = source
    if is_builtin and keepdims:
        return None if bits != _BITS else _builtin_mean(source, count, target)
    multiplier, exponent = quantize_multiplier(np.float64(np.float32(step)) / target.step)
    shift = min(count.bit_length() - 1, 32, 31 + int(exponent))
    divided = np.int64((int(multiplier) << shift) // count)

    def run(x: tf.Tensor) -> tf.Tensor:
        totals = tf.reduce_sum(tf.cast(codes_of(x, step), tf.int64), [1, 2], keepdims=keepdims)
        codes = half_away(totals, divided, np.int64(exponent - shift))
        return target.values(tf.cast(codes, tf.float32))

    return run


def _builtin_mean(source: Grid, count: int, target: Target) -> Function:
    step, code_of_zero = np.float32(source[0]), zero_code(source)
    shift = np.float32(code_of_zero) * step / target.step
    half = np.float32(0.5) if shift > 0 else np.float32(-0.5)
    offset = -int(np.trunc(shift + half))
    multipliers = quantize_multiplier(np.float64(step / (np.float32(count) * target.step)))

    def run(x: tf.Tensor) -> tf.Tensor:
        codes = tf.cast(codes_of(x, source[0]), tf.int64) + code_of_zero
        totals = tf.reduce_sum(codes, [1, 2], keepdims=True)
        channels = x.shape[-1]
        in_loop = np.arange(channels) < channels // _MEAN_GROUP * _MEAN_GROUP
        up, away = half_up(totals, *multipliers), half_away(totals, *multipliers)
        return target.values(tf.cast(tf.where(in_loop, up, away) + offset, tf.float32))

    return run


def _move(is_builtin: bool, source: Grid, target: Target) -> Function:
    step = np.float32(source[0])
    multipliers = quantize_multiplier(np.float64(step) / target.step)

    def run(x: tf.Tensor) -> tf.Tensor:
        codes = codes_of(x, source[0])
        result = half_away(codes, *multipliers)
        if is_builtin:
            result = _within(result, _QUANTIZE_GROUP, half_up(codes, *multipliers), result)
        return target.values(tf.cast(result, tf.float32))

    return run


_AWAY, _UP = _scaled(half_away), _scaled(half_up)
_OF_BUILTIN = {
    "convolution": _UP,
    "grouped": _AWAY,
    "depthwise": _by_groups,
    "fully_connected": _UP,
}
_OF_REFERENCE = {
    "convolution": _AWAY,
    "grouped": _AWAY,
    "depthwise": _AWAY,
    "fully_connected": _one_rounding,
}
_OF_MICRO = {**_OF_REFERENCE, "fully_connected": _AWAY}

BUILTIN = Kernels(
    functools.partial(_linear, _OF_BUILTIN),
    functools.partial(_add, True),
    _multiply,
    functools.partial(_mean, True),
    functools.partial(_move, True),
    rounds_away=True,
)
REFERENCE = Kernels(
    functools.partial(_linear, _OF_REFERENCE),
    functools.partial(_add, False),
    _multiply,
    functools.partial(_mean, False),
    functools.partial(_move, False),
    rounds_away=True,
)
MICRO = dataclasses.replace(REFERENCE, linear=functools.partial(_linear, _OF_MICRO))
"""LiteRT for Microcontrollers: the reference kernels but for FULLY_CONNECTED."""
