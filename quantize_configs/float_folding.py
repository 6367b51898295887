"""Linear layers in float with everything that is fused into them."""

import dataclasses

import numpy as np

from quantize_configs.bit_widths import WIDE_BITS
from quantize_configs.folding import fused_tail
from quantize_configs.layer_roles import UnsupportedLayerError
from quantize_configs.model_graph import LayerCall
from quantize_configs.wrappers import WrappedModel


@dataclasses.dataclass(frozen=True)
class FoldedFloat:
    """One linear layer in float.

    Attributes:
      call: The convolution or dense layer.
      weight: float32 or, where it is stored as such, float16; shaped like the Keras weight.
      bias: float32 [output channels].
      activation: "linear", "relu", "relu6" or "hard_sigmoid", of which only the clamp to [0, 1] is
        left to do.
      output: Name of the layer that ends the fused chain.
    """

    call: LayerCall
    weight: np.ndarray
    bias: np.ndarray
    activation: str
    output: str


def fold_float(model: WrappedModel, call: LayerCall) -> FoldedFloat:
    """A linear layer in float, folded.

    Raises:
      UnsupportedLayerError: A weight is too large for float16.
    """
    tail = fused_tail(model, call)
    weight = model.kernel(call.name)
    folded = weight.numpy() * channel_gain(weight, tail.gain)
    is_float16 = model.float_bits(call.name) == WIDE_BITS
    folded = as_float16(folded, call.name) if is_float16 else folded.astype(np.float32)
    bias = tail.bias.astype(np.float32)
    return FoldedFloat(call, folded, bias, tail.activation, tail.output)


def channel_gain(weight, gain: np.ndarray) -> np.ndarray:
    """`gain` [output channels] in the shape that multiplies a Keras weight."""
    channels = weight.shape[-1]
    return gain if gain.size == channels else gain.reshape(weight.shape[-2:])


def as_float16(values: np.ndarray, name: str) -> np.ndarray:
    """Values rounded to float16, through float32.

    Raises:
      UnsupportedLayerError: One is too large.
    """
    largest = np.max(np.abs(values), initial=0.0)
    if not largest <= np.finfo(np.float16).max:
        raise UnsupportedLayerError(
            f"Layer {name!r} has a folded weight of {largest:.3g}, too large for float16. Give it "
            "(32, 32) bits, or train it again: a variance of its normalization has collapsed."
        )
    return values.astype(np.float32).astype(np.float16)
