"""Integer accumulators of the linear operators, computed exactly with floating-point BLAS.

Integer codes and their partial sums are exact in float32 below 2**24 and in float64 below 2**53.
The worst case of the layer decides which of the two is used, so the result never depends on the
data.
"""

import math

import numpy as np

from tflite_tools.integer_graph.operations import Conv2D, DepthwiseConv2D
from tflite_tools.integer_graph.shapes import window_positions
from tflite_tools.integer_graph.tensors import Quantization, Tensor

_FLOAT32_EXACT = 1 << 24
_BLOCK_BYTES = 1 << 18
"""Of sums that are added to while they stay in the cache of a core."""


def worst_case(x: Tensor, weights: Tensor, bias: Tensor, *, depthwise: bool) -> int:
    """Largest magnitude an accumulator or a partial sum can reach, over all codes of `x`."""
    zero_point = x.quantization.zero_point
    low, high = x.dtype.limits
    largest_input = max(high - zero_point, zero_point - low)
    axes = tuple(range(weights.data.ndim))
    summed = axes[:-1] if depthwise else axes[1:]
    weight_sums = np.abs(weights.data.astype(np.int64)).sum(axis=summed)
    return int((weight_sums * largest_input + np.abs(bias.data.astype(np.int64))).max())


def shifted_worst_case(
    x: Tensor, weights: Tensor, bias: Tensor, output: Quantization, *, depthwise: bool
) -> int:
    """`worst_case` after the left shift of the built-in kernels, for multipliers of 1 or more."""
    multiplier = float(
        (np.float64(x.quantization.scale) * weights.quantization.scales).max()
        / np.float64(output.scale)
    )
    left_shift = max(math.frexp(multiplier)[1], 0)
    return worst_case(x, weights, bias, depthwise=depthwise) << left_shift


def exact_type(bound: int) -> np.dtype:
    """Fastest float type in which integers up to `bound` in magnitude are exact."""
    return np.dtype(np.float32 if bound < _FLOAT32_EXACT else np.float64)


def fully_connected(codes: np.ndarray, x: Tensor, weights: Tensor, bias: Tensor) -> np.ndarray:
    """sum((code - zero point) * weight) + bias over the last axis.

    Args:
      codes: int8 [N, ..., I].
      x: Tensor of the codes (for its zero point).
      weights: Constant [O, I].
      bias: Constant [O].

    Returns:
      Integers [N, ..., O] in float32 or float64.
    """
    exact = exact_type(worst_case(x, weights, bias, depthwise=False))
    # One product of matrices: with more axes, NumPy would multiply row by row.
    rows = _centred(codes, x, exact).reshape(-1, codes.shape[-1])
    result = rows @ np.ascontiguousarray(weights.data.T.astype(exact))
    result += bias.data.astype(exact)
    return result.reshape(*codes.shape[:-1], -1)


def conv_2d(
    codes: np.ndarray, x: Tensor, weights: Tensor, bias: Tensor, attributes: Conv2D
) -> np.ndarray:
    """Convolution accumulators; padding adds real zero.

    Args:
      codes: int8 [N, H, W, I].
      x: Tensor of the codes (for its zero point).
      weights: Constant [O, kh, kw, I].
      bias: Constant [O].
      attributes: Strides and padding.

    Returns:
      Integers [N, H', W', O] in float32 or float64.
    """
    exact = exact_type(worst_case(x, weights, bias, depthwise=False))
    outputs, kernel_height, kernel_width, inputs = weights.shape
    padded = _padded(_centred(codes, x, exact), (kernel_height, kernel_width), attributes)
    windows = _windows(padded, (kernel_height, kernel_width), attributes.strides)
    positions = windows.shape[:3]
    columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel_height * kernel_width * inputs)
    matrix = weights.data.reshape(outputs, -1).T.astype(exact)
    result = columns @ np.ascontiguousarray(matrix)
    result += bias.data.astype(exact)
    return result.reshape(*positions, outputs)


def depthwise_conv_2d(
    codes: np.ndarray, x: Tensor, weights: Tensor, bias: Tensor, attributes: DepthwiseConv2D
) -> np.ndarray:
    """Depthwise accumulators; weights [1, kh, kw, C * multiplier], otherwise as `conv_2d`."""
    exact = exact_type(worst_case(x, weights, bias, depthwise=True))
    kernel = weights.shape[1:3]
    padded = _padded(_centred(codes, x, exact), kernel, attributes)
    if attributes.depth_multiplier > 1:
        padded = np.repeat(padded, attributes.depth_multiplier, axis=-1)
    windows = _windows(padded, kernel, attributes.strides)
    result = np.empty((*windows.shape[:3], weights.shape[3]), exact)
    result[:] = bias.data
    values = weights.data[0].astype(exact)
    rows = max(_BLOCK_BYTES // result[0, 0].nbytes, 1)
    products = np.empty((rows, *result.shape[2:]), exact)
    for image, sums in zip(windows, result, strict=True):
        for start in range(0, len(sums), rows):
            block, taps = sums[start : start + rows], image[start : start + rows]
            for row, column in np.ndindex(kernel):
                product = products[: len(block)]
                block += np.multiply(taps[..., row, column], values[row, column], out=product)
    return result


def spatial_padding(
    size: tuple[int, int], window: tuple[int, int], attributes
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels (before, after) that the padding adds to height and to width."""
    return tuple(
        window_positions(pixels, extent, stride, attributes.padding)[1:]
        for pixels, extent, stride in zip(size, window, attributes.strides, strict=True)
    )


def _centred(codes, x, exact) -> np.ndarray:
    return codes.astype(exact) - exact.type(x.quantization.zero_point)


def _padded(centred, kernel, attributes) -> np.ndarray:
    height, width = spatial_padding(centred.shape[1:3], kernel, attributes)
    if height == width == (0, 0):
        return centred
    return np.pad(centred, ((0, 0), height, width, (0, 0)))


def _windows(padded, kernel, strides) -> np.ndarray:
    """View [N, H', W', C, kh, kw] of all kernel positions."""
    view = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))
    return view[:, :: strides[0], :: strides[1]]
