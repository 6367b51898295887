"""What a linear layer has to make up for in the sum that it ends in.

A residual sum adds the outputs of a branch to a tensor that went past it. What that tensor has lost
by quantization no layer of the branch reads as an error of its own, so the last layer of the branch
is given it as part of what it should put out (the block as the unit: BRECQ, Li et al., ICLR 2021).
"""

from collections.abc import Mapping

import numpy as np

from quantize_configs.folding import normalization_as_affine
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role, activation_of
from quantize_configs.model_graph import LayerCall, ModelGraph

SMALLEST_GAIN = 1e-3
"""Of a normalization, as a share of the largest, behind which a layer still makes up for others."""


def lacking_in_sum(
    graph: ModelGraph,
    call: LayerCall,
    exact: Mapping[str, np.ndarray],
    ours: Mapping[str, np.ndarray],
) -> np.ndarray | None:
    """What the other tensors of the sum behind a linear layer have lost, as outputs of the layer.

    Args:
      graph: Of the quantized model.
      call: Of the linear layer.
      exact: Tensors of the float network that are known so far, [N, ...].
      ours: The same in the quantized network.

    Returns:
      Float [N, ..., channels] as the products of the layer, before its normalization; None when it
      ends in no sum, when an activation lies between, or when other tensors are not known yet.
    """
    if activation_of(call.layer) != "linear":
        return None
    end, reader, gain = call.name, graph.sole_reader(call.name), np.ones(1)
    if reader is not None and reader.role is Role.NORMALIZATION:
        gain, _ = normalization_as_affine(reader.layer, 0.0)
        end, reader = reader.name, graph.sole_reader(reader.name)
    if reader is None or type(reader.layer) is not keras.layers.Add:
        return None
    others = [name for name in reader.inputs if name != end]
    if len(others) != len(reader.inputs) - 1 or not all(name in exact for name in others):
        return None
    if any(exact[name].shape[1:] != call.node.outputs.shape[1:] for name in others):
        return None  # one that is broadcast
    lost = sum(exact[name] - ours[name] for name in others)
    usable = np.abs(gain) > SMALLEST_GAIN * np.abs(gain).max()
    factors = np.divide(1.0, gain, out=np.zeros_like(gain), where=usable)
    return np.asarray(lost * factors, np.float32)
