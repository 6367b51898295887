"""Normalizations: they fold away into the convolution or dense layer before them."""

from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import (
    CallGraph,
    LayerCall,
    LayerKind,
    Role,
    UnsupportedLayerError,
)


def _check_batch_normalization(graph: CallGraph, call: LayerCall) -> None:
    layer, rank = call.layer, len(call.owner.input_shape)
    if list(layer.axis) != [rank - 1]:
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} normalizes axis {list(layer.axis)}; only the last one, the "
            "channels, folds into the layer before. Use axis=-1."
        )
    needs = "a Conv2D, DepthwiseConv2D or Dense without activation"
    graph.require_fusion(call, (Role.LINEAR,), needs)


LAYERS = {
    keras.layers.BatchNormalization: LayerKind(
        Role.NORMALIZATION, check=_check_batch_normalization
    ),
}

RULES = ()
