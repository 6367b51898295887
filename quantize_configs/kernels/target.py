"""What an integer operator writes, and what a kernel set says of each."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.tensor_grids import Grid

INT8_LOW, INT8_HIGH = -128, 127
LIMITS = {
    "linear": (-math.inf, math.inf),
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "hard_sigmoid": (-1.0, 1.0),  # saturation of an 8-bit grid is its clamp at 0
}
"""Of the activations that integer operators fuse, as real values."""

Function = Callable[[Any], tf.Tensor]


def codes_of(x: tf.Tensor, step: float) -> tf.Tensor:
    """Codes of values on a grid, counted from zero: float32."""
    return tf.round(x / np.float32(step))


def zero_code(grid: Grid) -> int:
    """Code of zero in the INT8 tensor of a grid, whose top code is 127."""
    _, zero_point, bits = grid
    return INT8_HIGH - (2**bits - 1) + zero_point


@dataclasses.dataclass(frozen=True)
class Target:
    """The INT8 tensor that an operator writes: its grid, and the limits of a fused activation.

    Attributes:
      grid: Its top code is 127.
      activation: One of LIMITS.
      rounds_away: Whether limits are rounded with ties away from zero, before the zero point.
    """

    grid: Grid
    activation: str = "linear"
    rounds_away: bool = False

    @property
    def step(self) -> np.float32:
        """Step of the grid."""
        return np.float32(self.grid[0])

    @property
    def zero_point(self) -> int:
        """Code of zero in the tensor."""
        return zero_code(self.grid)

    def values(self, codes: tf.Tensor) -> tf.Tensor:
        """The real values of float32 codes, which count from the zero point, after the limits."""
        low, high = (
            np.float32(self._code(limit) - self.zero_point) for limit in LIMITS[self.activation]
        )
        return tf.clip_by_value(codes, low, high) * self.step

    def _code(self, limit: float) -> float:
        steps = np.float32(limit) / self.step
        if self.rounds_away and math.isfinite(limit):
            steps = np.trunc(steps + np.copysign(np.float32(0.5), steps))
        code = np.clip(steps + np.float32(self.zero_point), INT8_LOW, INT8_HIGH)
        return float(np.rint(code))


@dataclasses.dataclass(frozen=True)
class Sums:
    """The sums of an operator with weights.

    Attributes:
      operator: "convolution", "grouped" for one with groups, "depthwise" or "fully_connected".
      step: Of the codes that are summed.
      scales: float32 [output channels], of the weights.
      taps: Weights of one channel of a depthwise filter.
    """

    operator: str
    step: np.float32
    scales: np.ndarray
    taps: int = 1


@dataclasses.dataclass(frozen=True)
class Kernels:
    """How one kernel set computes.

    Attributes:
      linear: From int32 sums to the values of a target.
      add: A sum of two tensors on grids; None where it is computed otherwise.
      multiply: A product of two.
      mean: Over height and width, `count` pixels, with or without keeping the axes.
      move: From one grid to another in one QUANTIZE; None where that is the rounding of Keras.
      rounds_away: See `Target`.
    """

    linear: Callable[[Sums, Target], Function]
    add: Callable[[Sequence[Grid], Target], Function | None]
    multiply: Callable[[Sequence[Grid], Target], Function | None]
    mean: Callable[[Grid, int, bool, Target], Function | None]
    move: Callable[[Grid, Target], Function] | None = None
    rounds_away: bool = False
