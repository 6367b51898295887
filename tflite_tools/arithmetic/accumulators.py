"""Integer accumulators of the linear operators, computed exactly with floating-point BLAS.

Integer codes and their partial sums are exact in float32 below 2**24 and in float64 below 2**53.
The worst case of the layer decides which of the two is used, so the result never depends on the
data.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from tflite_tools.integer_graph.tensors import Quantization, Tensor
from tflite_tools.operators.settings import Padding, window_positions

_FLOAT32_EXACT = 1 << 24
_BLOCK_BYTES = 1 << 18
"""Of sums that are added to while they stay in the cache of a core."""


@dataclasses.dataclass(frozen=True)
class Windows:
    """How a window slides over height and width.

    Attributes:
      size: Pixels of the window, without gaps.
      strides: Steps in pixels.
      padding: SAME or VALID.
      dilations: Distance of neighbouring taps in pixels.
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding
    dilations: tuple[int, int] = (1, 1)

    @property
    def extent(self) -> tuple[int, int]:
        """Pixels of the window with its gaps."""
        height, width = (
            (taps - 1) * dilation + 1
            for taps, dilation in zip(self.size, self.dilations, strict=True)
        )
        return height, width

    def sides(self, image: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels of padding around an image: (above, below), (on the left, on the right)."""
        vertical, horizontal = (
            window_positions(pixels, extent, stride, self.padding)[1:]
            for pixels, extent, stride in zip(image, self.extent, self.strides, strict=True)
        )
        return vertical, horizontal

    def view(self, values: np.ndarray, filler: Any = 0) -> np.ndarray:
        """View [N, H', W', C, kh, kw] of all positions over `values` [N, H, W, C].

        Padding holds `filler`.
        """
        sides = self.sides((values.shape[1], values.shape[2]))
        if any(map(any, sides)):
            values = np.pad(values, ((0, 0), *sides, (0, 0)), constant_values=filler)
        view = np.lib.stride_tricks.sliding_window_view(values, self.extent, axis=(1, 2))
        rows, columns = self.dilations
        return view[:, :: self.strides[0], :: self.strides[1], :, ::rows, ::columns]


def worst_case(x: Tensor, weights: Tensor, bias: Tensor, *, depthwise: bool) -> int:
    """Largest magnitude an accumulator or a partial sum can reach, over all codes of `x`."""
    zero_point = x.grid.zero_point
    low, high = x.dtype.limits
    largest_input = max(high - zero_point, zero_point - low)
    axes = tuple(range(weights.codes.ndim))
    summed = axes[:-1] if depthwise else axes[1:]
    weight_sums = np.abs(weights.codes.astype(np.int64)).sum(axis=summed)
    return int((weight_sums * largest_input + np.abs(bias.codes.astype(np.int64))).max())


def shifted_worst_case(
    x: Tensor, weights: Tensor, bias: Tensor, output: Quantization, *, depthwise: bool
) -> int:
    """`worst_case` after the left shift of the built-in kernels, for multipliers of 1 or more."""
    multiplier = float(
        (np.float64(x.grid.scale) * weights.grid.scales).max() / np.float64(output.scale)
    )
    left_shift = max(math.frexp(multiplier)[1], 0)
    return worst_case(x, weights, bias, depthwise=depthwise) << left_shift


def exact_type(bound: int) -> np.dtype:
    """Fastest float type in which integers up to `bound` in magnitude are exact."""
    return np.dtype(np.float32 if bound < _FLOAT32_EXACT else np.float64)


def fully_connected(codes: np.ndarray, x: Tensor, weights: Tensor, bias: Tensor) -> np.ndarray:
    """sum((code - zero point) * weight) + bias over the last axis.

    Args:
      codes: Integers [N, ..., I].
      x: Tensor of the codes (for its zero point).
      weights: Constant [O, I].
      bias: Constant [O].

    Returns:
      Integers [N, ..., O] in float32 or float64.
    """
    exact = exact_type(worst_case(x, weights, bias, depthwise=False))
    # One product of matrices: with more axes, NumPy would multiply row by row.
    rows = _centred(codes, x, exact).reshape(-1, codes.shape[-1])
    result = rows @ np.ascontiguousarray(weights.codes.T.astype(exact))
    result += bias.codes.astype(exact)
    return result.reshape(*codes.shape[:-1], -1)


def conv_2d(
    codes: np.ndarray, x: Tensor, weights: Tensor, bias: Tensor, windows: Windows
) -> np.ndarray:
    """Convolution accumulators; padding adds real zero.

    Args:
      codes: Integers [N, H, W, I].
      x: Tensor of the codes (for its zero point).
      weights: Constant [O, kh, kw, I / groups].
      bias: Constant [O].
      windows: Of the kernel.

    Returns:
      Integers [N, H', W', O] in float32 or float64.
    """
    exact = exact_type(worst_case(x, weights, bias, depthwise=False))
    view = windows.view(_centred(codes, x, exact))
    depth = weights.shape[3]
    groups = codes.shape[3] // depth
    width = weights.shape[0] // groups
    parts = []
    for group in range(groups):
        taps = view[..., group * depth : (group + 1) * depth, :, :]
        columns = taps.transpose(0, 1, 2, 4, 5, 3).reshape(-1, math.prod(weights.shape[1:]))
        matrix = weights.codes[group * width : (group + 1) * width].reshape(width, -1)
        parts.append(columns @ np.ascontiguousarray(matrix.T.astype(exact)))
    result = parts[0] if groups == 1 else np.concatenate(parts, axis=-1)
    result += bias.codes.astype(exact)
    return result.reshape(*view.shape[:3], weights.shape[0])


def depthwise_conv_2d(
    codes: np.ndarray,
    x: Tensor,
    weights: Tensor,
    bias: Tensor,
    windows: Windows,
    depth_multiplier: int,
) -> np.ndarray:
    """Depthwise accumulators; weights [1, kh, kw, C * multiplier], otherwise as `conv_2d`."""
    exact = exact_type(worst_case(x, weights, bias, depthwise=True))
    centred = _centred(codes, x, exact)
    if depth_multiplier > 1:
        centred = np.repeat(centred, depth_multiplier, axis=-1)
    view = windows.view(centred)
    result = np.empty((*view.shape[:3], weights.shape[3]), exact)
    result[:] = bias.codes
    values = weights.codes[0].astype(exact)
    rows = max(_BLOCK_BYTES // result[0, 0].nbytes, 1)
    products = np.empty((rows, *result.shape[2:]), exact)
    for image, sums in zip(view, result, strict=True):
        for start in range(0, len(sums), rows):
            block, taps = sums[start : start + rows], image[start : start + rows]
            for row, column in np.ndindex(*windows.size):
                product = products[: len(block)]
                block += np.multiply(taps[..., row, column], values[row, column], out=product)
    return result


def _centred(codes: np.ndarray, x: Tensor, exact: np.dtype) -> np.ndarray:
    return codes.astype(exact) - exact.type(x.grid.zero_point)
