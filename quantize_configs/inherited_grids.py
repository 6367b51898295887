"""First steps and lower ends of fewer bits, from those that were learned with more.

Rules: "equal_bits" takes nothing from other bits; "double" is the bit inheritance of OQA
(step(b) = 2^(K - b) step(K), so that the grids are nested); "keep_range" keeps both ends of the
grid; "power_of_two" is that, with the step rounded to a power of two.
"""

import numpy as np

INHERITANCES = ("equal_bits", "double", "keep_range", "power_of_two")


def inherited_step(step, signed: bool, source_bits: int, bits: int, rule: str):
    """A learned step of `source_bits` as the first one of fewer `bits`; floats or arrays."""
    if rule == "double":
        return step * 2.0 ** (source_bits - bits)
    step = step * (2 ** (source_bits - signed) - 1) / (2 ** (bits - signed) - 1)
    return 2.0 ** np.round(np.log2(step)) if rule == "power_of_two" else step


def inherited_low(low, step, source_bits: int, bits: int, rule: str):
    """The lower end of an offset grid with `step` > 0 of `source_bits` as that of fewer `bits`."""
    if rule != "double":
        return low
    narrowing = 2.0 ** (source_bits - bits)
    zero_point = np.clip(np.round(-low / step), 0, 2**source_bits - 1)
    return -np.floor(zero_point / narrowing) * narrowing * step
