"""How each Keras layer becomes operations, by class."""

from collections.abc import Callable

from quantize_configs.keras_backend import keras
from quantize_configs.model_graph import LayerCall
from tflite_tools.lowering import (
    convolution,
    ends,
    functions,
    merging,
    normalization,
    pooling,
    shaping,
)
from tflite_tools.lowering.context import Lowering

_FAMILIES = (functions, convolution, normalization, merging, pooling, shaping)

LOWERINGS: dict[type[keras.layers.Layer], Callable[[Lowering, LayerCall], None]] = {
    keras.layers.InputLayer: ends.lower_input,
    **{layer: lower for family in _FAMILIES for layer, lower in family.LOWERINGS.items()},
}
