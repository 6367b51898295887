"""Rounding primitives of the LiteRT CPU kernels.

A real multiplier M is split into a 31-bit integer q and an exponent e with M ~ q * 2**(e - 31).
The fixed-point kernels then round twice: at bit 31, half up, and at bit -e, where the treatment
of ties tells the kernel sets apart. Sources: LiteRT tflite/kernels/internal/quantization_util.cc,
common.h; gemmlowp fixedpoint.h.
"""

import math
from typing import Any

import numpy as np

from tflite_tools.operators.settings import Activation

Numbers = Any
"""Arrays of NumPy, its scalars, or numbers."""

INT8_MIN, INT8_MAX = -128, 127

#: Limits of each activation, as real values.
LIMITS = {
    Activation.NONE: (-math.inf, math.inf),
    Activation.RELU: (0.0, math.inf),
    Activation.RELU6: (0.0, 6.0),
    Activation.RELU_N1_TO_1: (-1.0, 1.0),
}


def multiply_add(x: Numbers, factor: Numbers, offset: Numbers, fused: bool) -> np.ndarray:
    """x * factor + offset of float32 numbers, float32.

    Args:
      x: First factors.
      factor: Second ones, broadcast.
      offset: Added, broadcast.
      fused: Whether the product is not rounded before the sum is, as ARM64 has it.
    """
    wide = np.float64 if fused else np.float32  # in float64 the product is exact
    return np.asarray(wide(x) * wide(factor) + wide(offset)).astype(np.float32)


def scale_half_up(values: Numbers, multiplier: Numbers, exponent: Numbers) -> np.ndarray:
    """Multiplies integers by q * 2**(e - 31), both roundings half up.

    Args:
      values: Integers of int32 range, any shape.
      multiplier: q, broadcast against `values`.
      exponent: e, broadcast against `values`.

    Returns:
      int64 of the broadcast shape.
    """
    high, right = _high_product(values, multiplier, exponent)
    high += (1 << right) >> 1
    high >>= right
    return high


def scale_half_away(values: Numbers, multiplier: Numbers, exponent: Numbers) -> np.ndarray:
    """As `scale_half_up`, but the second rounding has ties away from zero."""
    high, right = _high_product(values, multiplier, exponent)
    mask = (np.int64(1) << right) - 1
    rounds_up = (high & mask) > (mask >> 1) + (high < 0)
    high >>= right
    high += rounds_up
    return high


def scale_half_up_then_left(values: Numbers, multiplier: Numbers, exponent: Numbers) -> np.ndarray:
    """As `scale_half_up`, but multipliers of 1 or more shift left what is rounded already."""
    scaled = scale_half_up(values, multiplier, np.minimum(exponent, 0))
    scaled <<= np.maximum(exponent, 0)
    return scaled


def scale_once(values: Numbers, multiplier: Numbers, exponent: Numbers) -> np.ndarray:
    """As `scale_half_up`, but with one rounding of the whole product, half up."""
    shift = 31 - np.asarray(exponent)
    half = np.int64(1) << (shift - 1)
    return (np.asarray(values).astype(np.int64) * multiplier + half) >> shift


def _high_product(
    values: Numbers, multiplier: Numbers, exponent: Numbers
) -> tuple[np.ndarray, np.ndarray]:
    """(values * 2**max(e, 0) * q * 2**-31, half up, as a new int64 array; max(-e, 0))."""
    shape = np.broadcast_shapes(np.shape(values), np.shape(multiplier), np.shape(exponent))
    product = np.broadcast_to(values, shape).astype(np.int64)
    left = np.maximum(exponent, 0)
    if np.any(left):
        product <<= left
    product *= multiplier
    product += 1 << 30
    product >>= 31
    return product, np.maximum(-exponent, 0)


def scale_reduced(values: Numbers, multiplier: Numbers, exponent: Numbers) -> np.ndarray:
    """Multiplies 64-bit integers by q * 2**(e - 31) with q reduced to 15 bits, half up."""
    reduced = np.where(multiplier < 0x7FFF0000, (multiplier + (1 << 15)) >> 16, 0x7FFF)
    shift = 15 - exponent
    return (np.asarray(values).astype(np.int64) * reduced + (np.int64(1) << (shift - 1))) >> shift


def round_half_away(values: Numbers) -> np.ndarray:
    """Rounds floats to the nearest integer, ties away from zero, in the type of `values`."""
    magnitude = np.abs(values)
    whole = np.trunc(magnitude)
    # `floor(magnitude + 0.5)` would round up the largest number below one half.
    return np.copysign(whole + (magnitude - whole >= 0.5), values)


def plus_half(products: np.ndarray) -> np.ndarray:
    """`products + 0.5`, float64, which rounds to the same float32 as the exact sum.

    What float64 cannot hold is rounded to odd: the last bit is set wherever something was cut off.
    (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008.)
    """
    sums = products + 0.5
    kept = sums - products
    lost = (products - (sums - kept)) + (0.5 - kept)
    is_even = sums.view(np.int64) & 1 == 0
    inexact = (lost != 0) & is_even
    sums[inexact] = np.nextafter(sums[inexact], np.copysign(np.inf, lost[inexact]))
    return sums


def saturate(
    values: Numbers, low: float = INT8_MIN, high: float = INT8_MAX, dtype: type = np.int8
) -> np.ndarray:
    """Clamps codes to [low, high] and stores them as int8, or as `dtype`."""
    return np.clip(values, low, high).astype(dtype)


def activation_codes_xnnpack(
    activation: Activation, scale: np.float32, zero_point: int
) -> tuple[int, int]:
    """Output limits in codes: rint(limit / scale + zero_point), in float32."""

    def code(limit):
        shifted = np.float32(limit) / scale + np.float32(zero_point)
        return int(np.rint(np.clip(shifted, INT8_MIN, INT8_MAX)))

    return _limit_codes(activation, code)


def activation_codes_builtin(
    activation: Activation,
    scale: np.float32,
    zero_point: int,
    limits: tuple[int, int] = (INT8_MIN, INT8_MAX),
) -> tuple[int, int]:
    """Output limits in codes: zero_point + round(limit / scale), ties away from zero.

    `limits` are those of the output type.
    """

    def code(limit):
        steps = int(round_half_away(np.float32(limit) / scale))
        return min(max(zero_point + steps, limits[0]), limits[1])

    return _limit_codes(activation, code, limits)


def _limit_codes(activation, code, limits=(INT8_MIN, INT8_MAX)) -> tuple[int, int]:
    low, high = LIMITS[activation]
    return (
        limits[0] if math.isinf(low) else code(low),
        limits[1] if math.isinf(high) else code(high),
    )
