"""Pools: a largest value keeps the grid of what it reads, a mean makes one."""

from quantize_configs.editable_graph import EditableGraph, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import LayerKind, Role
from quantize_configs.layers.operators import name_of, operand

layers = keras.layers

LAYERS = {
    layers.MaxPooling2D: LayerKind(Role.PASSING),
    layers.GlobalMaxPooling2D: LayerKind(Role.PASSING),
    layers.AveragePooling2D: LayerKind(Role.ARITHMETIC, fuses_activation=True),
    layers.GlobalAveragePooling2D: LayerKind(Role.ARITHMETIC),
}

_OVER_IMAGES = {"mean": layers.GlobalAveragePooling2D, "largest": layers.GlobalMaxPooling2D}


def name_operators(graph: EditableGraph, name: str) -> None:
    """`tf.reduce_mean(x, [1, 2])` and `tf.reduce_max` become pools over the image."""
    node = graph.nodes[name]
    layer = _OVER_IMAGES.get(name_of(node) or "")
    if layer is None or len(node.inputs) != 1:
        return
    axes = operand(node, 1, "axis")
    if len(graph.nodes[node.inputs[0]].shape) == 4 and axes in ([1, 2], (1, 2), [2, 1]):
        keepdims = bool(operand(node, 2, "keepdims"))
        pool = new(layer(keepdims=keepdims, name=name), *node.inputs, shape=node.shape)
        graph.replace(name, **{name: pool})


RULES = (name_operators,)
LAST_RULES = ()
