"""Convolutions and dense layers: they have a weight, read a grid of their own and make one."""

from quantize_configs.editable_graph import EditableGraph, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.functions import FUNCTION_NAMES, activation_name
from quantize_configs.layers.kinds import LayerKind, Role

layers = keras.layers

LAYERS = {
    layers.Conv2D: LayerKind(Role.LINEAR, weight="kernel", channel_axes=(-1,)),
    layers.DepthwiseConv2D: LayerKind(
        Role.LINEAR, weight="depthwise_kernel", channel_axes=(-2, -1)
    ),
    layers.Dense: LayerKind(Role.LINEAR, weight="kernel", channel_axes=(-1,)),
}

SPLIT = ".function"
"""What is appended to the name of a layer for the function that was its activation."""


def split_activation(graph: EditableGraph, name: str) -> bool:
    """A function that no operator fuses becomes a layer behind the convolution or dense layer."""
    node = graph.nodes.get(name)
    if node is None or type(node.layer) not in LAYERS:
        return False
    function = activation_name(node.layer)
    if function not in FUNCTION_NAMES or "activation" in node.changes:
        return False
    node.changes["activation"] = None
    split = new(layers.Activation(function, name=f"{name}{SPLIT}"), name)
    graph.insert_after(name, f"{name}{SPLIT}", split)
    return True


RULES = (split_activation,)
