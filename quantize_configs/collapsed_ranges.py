"""Ranges so narrow that no kernel rounds to them, widened to the nearest that one does.

A layer whose sums cancel or hardly vary, as in a network that was not trained, has an output range
that is tiny beside the products that it adds up. XNNPACK prepares no linear operator whose
multiplier, input scale times weight scale over output scale, reaches 256; the built-in kernels
shift the sum left by it, which must stay within 32 bits, and add no tensors whose scale is 2^19
times that of the sum. Such an output is rounding noise of its inputs; a grid a little wider loses
nothing that an integer could keep.
"""

import warnings

import numpy as np

from quantize_configs.folding import FoldedLinear, fold_linear
from quantize_configs.grid_placement import TENSOR_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role
from quantize_configs.model_graph import LayerCall
from quantize_configs.range_estimation import SMALLEST_STEP
from quantize_configs.tensor_grids import grid_holder, read_grid
from quantize_configs.wrappers import WrappedModel

LARGEST_MULTIPLIER = 250.0
"""Of linear operators; below 256 by more than what aligning ranges changes afterwards."""
LARGEST_SHIFTED, NOT_SHIFTED = 2.0**30, 0.99
"""Of sum times multiplier, so that the next power of two fits 32 bits; a multiplier of no shift."""
LARGEST_ADDED = 2.0**18
"""Scale of a tensor that is added, over that of the sum."""


class CollapsedRangeWarning(UserWarning):
    """A range was too narrow for any kernel and has been widened."""


def widen_collapsed(wrapped: WrappedModel) -> list[str]:
    """Widens collapsed ranges in place, about their zero points, and warns of them.

    Args:
      wrapped: Calibrated model; inputs come before what reads them, so each range is judged by the
        ranges as they will be.

    Returns:
      Names of the layers whose outputs have other ranges now.
    """
    widened = []
    for call in wrapped.graph.calls:
        output, needed = _needed_step(wrapped, call)
        holder = grid_holder(wrapped, output) if needed else None
        if holder is None:
            continue
        step, _, bits = wrapped.activation_grid(holder[0])
        variables = wrapped.output_variables(holder[0])
        if bits > TENSOR_BITS or step >= needed or "range_low" not in variables:
            continue
        low, high = (float(variables[role]) for role in ("range_low", "range_high"))
        levels = 2**bits - 1
        if not low < high:  # an empty range, whose step is 1
            low, high = 0.0, float(levels)
        learned = step / max((high - low) / levels, SMALLEST_STEP)  # what training made of a step
        span = needed / learned * levels
        variables["range_low"].assign(low / (high - low) * span)
        variables["range_high"].assign(high / (high - low) * span)
        widened.append(call.name)
    if widened:
        warnings.warn(
            f"The output ranges of {len(widened)} layers had collapsed beside their inputs and "
            f"were widened to the narrowest that a kernel rounds to: {', '.join(widened[:5])}"
            f"{' ...' if widened[5:] else ''}. Was the model trained, and calibrated on real "
            "images?",
            CollapsedRangeWarning,
            stacklevel=3,
        )
    return widened


def _needed_step(wrapped: WrappedModel, call: LayerCall) -> tuple[str, float]:
    """(name of the tensor that a call makes, the smallest step of its grid); 0 for any step."""
    if call.role is Role.LINEAR and wrapped.float_bits(call.name) is None:
        folded = fold_linear(wrapped, call)
        if folded.input_bits > TENSOR_BITS:
            return folded.output, 0.0
        largest = _largest_multiplier(folded)
        return folded.output, folded.input_scale * float(folded.scales.max()) / largest
    if type(call.layer) is keras.layers.Add:
        grids = [read_grid(wrapped, name) for name in call.inputs]
        return call.name, max((grid[0] for grid in grids if grid), default=0.0) / LARGEST_ADDED
    return call.name, 0.0


def _largest_multiplier(folded: FoldedLinear) -> float:
    """The largest that all kernels take; the built-in ones shift sums left by multipliers above 1.

    Codes times an integer in their container leave the product of sum and multiplier as it is.
    """
    depthwise = isinstance(folded.call.layer, keras.layers.DepthwiseConv2D)
    summed = (0, 1) if depthwise else tuple(range(folded.codes.ndim - 1))
    products = np.abs(folded.codes).sum(axis=summed, dtype=np.float64).reshape(-1)
    biases = np.abs(folded.bias) / (folded.input_scale * folded.scales)
    worst = float(np.max(products * (2**folded.input_bits - 1) + biases))
    return min(LARGEST_MULTIPLIER, max(LARGEST_SHIFTED / max(worst, 1.0), NOT_SHIFTED))
