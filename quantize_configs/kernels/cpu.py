"""XNNPACK, with LiteRT's built-in kernels for what XNNPACK has no 8-bit kernel of its own for."""

import dataclasses

from quantize_configs.kernels.fixed_point import BUILTIN
from quantize_configs.kernels.large_filters import is_left_to_builtin
from quantize_configs.kernels.target import Function, Kernels, Sums, Target
from quantize_configs.kernels.xnnpack import XNNPACK


def _linear(sums: Sums, target: Target) -> Function:
    if is_left_to_builtin(sums.operator, sums.taps):
        return BUILTIN.linear(sums, dataclasses.replace(target, rounds_away=BUILTIN.rounds_away))
    return XNNPACK.linear(sums, target)


CPU: Kernels = dataclasses.replace(XNNPACK, linear=_linear)
