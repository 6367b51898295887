"""Every Keras layer that a quantized model may have, by class, and the rules that rewrite others.

The taxonomy is `Role`. A layer reads its own grid and makes one (LINEAR), merges grids or makes one
(ARITHMETIC), keeps the grid of its input (PASSING), folds away into the operation before it
(NORMALIZATION, ACTIVATION), or is computed in float between two grids (POINTWISE). A rule writes a
layer, or an operator such as `x + y`, that is none of these as layers that are.
"""

from collections.abc import Callable

from quantize_configs.editable_graph import EditableGraph
from quantize_configs.keras_backend import keras
from quantize_configs.layers import (
    convolution,
    functions,
    merging,
    normalization,
    pooling,
    sequences,
    shaping,
    transposed,
)
from quantize_configs.layers.kinds import LayerKind

_FAMILIES = (
    functions,
    merging,
    shaping,
    pooling,
    sequences,
    transposed,
    convolution,
    normalization,
)

LAYERS: dict[type[keras.layers.Layer], LayerKind] = {
    layer: kind for family in _FAMILIES for layer, kind in family.LAYERS.items()
}

RULES: tuple[Callable[[EditableGraph, str], None], ...] = (
    *(rule for family in _FAMILIES for rule in family.RULES),
    *(rule for family in _FAMILIES for rule in family.LAST_RULES),
)
