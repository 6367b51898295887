"""Real multipliers as LiteRT's kernels have them: a 31-bit integer q and an exponent e.

M ~ q * 2**(e - 31). A kernel multiplies an integer by q, rounds at bit 31, half up, and rounds once
more at bit -e; how it treats ties there tells kernel sets apart. (LiteRT
tflite/kernels/internal/quantization_util.cc, common.h; gemmlowp fixedpoint.h.) NumPy only.
"""

from typing import Any

import numpy as np


def quantize_multiplier(real: Any) -> tuple[np.ndarray, np.ndarray]:
    """Splits positive multipliers into (q, exponent), both int64 of the shape of `real`.

    `real` is float64. 2**30 <= q < 2**31, or q = 0 for multipliers below 2**-32.
    """
    mantissa, exponent = np.frexp(np.asarray(real, np.float64))
    multiplier = np.floor(mantissa * (1 << 31) + 0.5).astype(np.int64)
    exponent = exponent.astype(np.int64)
    carry = multiplier == 1 << 31
    multiplier = np.where(carry, 1 << 30, multiplier)
    exponent = exponent + carry
    vanishes = exponent < -31
    return np.where(vanishes, 0, multiplier), np.where(vanishes, 0, exponent)
