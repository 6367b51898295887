"""Convolutions and dense layers: they have a weight, read a grid of their own and make one."""

from quantize_configs.editable_graph import EditableGraph, copied, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.functions import FUNCTION_NAMES, activation_name
from quantize_configs.layers.kinds import LayerKind, Role

layers = keras.layers

LAYERS = {
    layers.Conv2D: LayerKind(
        Role.LINEAR, weight="kernel", channel_axes=(-1,), fuses_activation=True
    ),
    layers.DepthwiseConv2D: LayerKind(
        Role.LINEAR, weight="depthwise_kernel", channel_axes=(-2, -1), fuses_activation=True
    ),
    layers.Dense: LayerKind(
        Role.LINEAR, weight="kernel", channel_axes=(-1,), fuses_activation=True
    ),
}

SPLIT = ".function"
"""What is appended to the name of a layer for the function that was its activation."""


def split_activation(graph: EditableGraph, name: str) -> None:
    """A function that no operator fuses becomes a layer behind the convolution or dense layer."""
    node = graph.nodes[name]
    if type(node.layer) not in LAYERS or "activation" in node.changes:
        return
    activation, split = node.layer.activation, f"{name}{SPLIT}"
    if isinstance(activation, layers.Layer):
        layer = copied(activation, node.shape, name=split)
    elif activation_name(node.layer) in FUNCTION_NAMES:
        layer = layers.Activation(activation, name=split)
    else:
        return
    if node.is_new:
        node.layer.activation = keras.activations.linear
    else:
        node.changes["activation"] = None
    graph.insert_after(name, split, new(layer, name, shape=node.shape))


def split_separable(graph: EditableGraph, name: str) -> None:
    """A separable convolution is a depthwise one, called `<layer>.depthwise`, and a 1x1 one."""
    node = graph.nodes[name]
    layer = node.layer
    if type(layer) is not layers.SeparableConv2D:
        return
    depthwise, pointwise, *bias = layer.get_weights()
    first = f"{name}.depthwise"
    shape = (*node.shape[:3], pointwise.shape[2])
    common = {"trainable": layer.trainable, "dtype": layer.dtype}
    regular = {"depthwise": layer.depthwise_regularizer, "pointwise": layer.pointwise_regularizer}
    spatial = layers.DepthwiseConv2D(
        layer.kernel_size,
        layer.strides,
        layer.padding,
        depth_multiplier=layer.depth_multiplier,
        dilation_rate=layer.dilation_rate,
        use_bias=False,
        depthwise_regularizer=regular["depthwise"],
        name=first,
        **common,
    )
    mixing = layers.Conv2D(
        layer.filters,
        1,
        use_bias=layer.use_bias,
        activation=layer.activation,
        kernel_regularizer=regular["pointwise"],
        bias_regularizer=layer.bias_regularizer,
        name=name,
        **common,
    )
    graph.replace_by(
        name,
        {
            first: new(spatial, *node.inputs, shape=shape, weights=[depthwise]),
            name: new(mixing, first, shape=node.shape, weights=[pointwise, *bias]),
        },
    )


RULES = (split_separable, split_activation)
LAST_RULES = ()
