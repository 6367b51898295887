"""Normalizations and other scales and offsets of channels.

One behind a convolution or dense layer folds away into it. One at the input of the model is part of
how an image is read, in float. Any other becomes a depthwise 1x1 convolution, which is exact and
runs wherever convolutions do. A layer normalization has to look at the values and is computed in
float between two grids.
"""

import numpy as np

from quantize_configs.editable_graph import EditableGraph, Node, Shape, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.functions import activation_name
from quantize_configs.layers.kinds import (
    CallGraph,
    LayerCall,
    LayerKind,
    Role,
    UnsupportedLayerError,
)
from quantize_configs.layers.operators import constant, name_of, operand

layers = keras.layers


def _check_batch_normalization(graph: CallGraph, call: LayerCall) -> None:
    layer, rank = call.layer, len(call.owner.input_shape)
    if list(layer.axis) != [rank - 1]:
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} normalizes axis {list(layer.axis)}; only the last one, the "
            "channels, folds into the layer before. Use axis=-1."
        )
    needs = "a Conv2D, DepthwiseConv2D or Dense without activation"
    graph.require_fusion(call, (Role.LINEAR,), needs)


def _check_rescaling(graph: CallGraph, call: LayerCall) -> None:
    (source,) = call.inputs
    if graph.by_name[source].role is not Role.INPUT or graph.sole_reader(source) is not call:
        raise UnsupportedLayerError(
            f"The rescaling {call.name!r} must be the only layer that reads an input of "
            f"the model. It reads {source!r}. Elsewhere, change weights or ranges instead."
        )


def _check_layer_normalization(graph: CallGraph, call: LayerCall) -> None:
    axes, rank = list(call.layer.axis), len(call.owner.input_shape)
    if axes not in ([-1], [rank - 1]):
        raise UnsupportedLayerError(
            f"Layer {call.name!r} normalizes the axes {axes}; only the last one is exported. "
            "Use axis=-1."
        )


LAYERS = {
    layers.BatchNormalization: LayerKind(
        Role.NORMALIZATION, fuses_activation=True, check=_check_batch_normalization
    ),
    layers.Rescaling: LayerKind(
        Role.POINTWISE, function=lambda layer: "rescaling", check=_check_rescaling
    ),
    layers.LayerNormalization: LayerKind(
        Role.POINTWISE,
        function=lambda layer: "layer_normalization",
        check=_check_layer_normalization,
    ),
}


def scaled_channels(
    name: str, source: str, shape: Shape, scale: np.ndarray, offset: np.ndarray | None
) -> dict[str, Node]:
    """A depthwise 1x1 convolution that multiplies channels and adds to them, called `name`.

    Args:
      name: Of the last node.
      source: Tensor it reads.
      shape: Of that tensor, the batch included.
      scale: [channels] or a number.
      offset: [channels] or a number; None for none.
    """
    channels = shape[-1]
    weights = [np.broadcast_to(scale, (channels,)).reshape(1, 1, channels, 1)]
    if offset is not None:
        weights.append(np.broadcast_to(offset, (channels,)))
    layer_name = name if len(shape) == 4 else f"{name}.scale"
    layer = layers.DepthwiseConv2D(1, use_bias=offset is not None, trainable=False, name=layer_name)
    if len(shape) == 4:
        return {name: new(layer, source, shape=shape, weights=weights)}
    sizes = (shape[1] if len(shape) == 3 else 1, 1, channels)
    reshaped = (None, *sizes)
    return {
        f"{name}.map": new(layers.Reshape(sizes, name=f"{name}.map"), source, shape=reshaped),
        layer_name: new(layer, f"{name}.map", shape=reshaped, weights=weights),
        name: new(layers.Reshape(shape[1:], name=name), layer_name, shape=shape),
    }


def separate_normalization(graph: EditableGraph, name: str) -> None:
    """A batch normalization with nothing to fold into gets a convolution of ones to fold into."""
    node = graph.nodes[name]
    if type(node.layer) is not layers.BatchNormalization:
        return
    (source,) = node.inputs
    if list(node.layer.axis) != [len(node.shape) - 1]:
        return  # refused later, by name
    if folds_into(graph, source):
        return
    if len(node.shape) == 4:
        scale = scaled_channels(f"{name}.scale", source, node.shape, np.ones(()), None)
        node.inputs = [f"{name}.scale"]
        graph.replace_by(name, {**scale, name: node})
        return
    nodes = scaled_channels(name, source, node.shape, np.ones(()), None)
    last = nodes.pop(name)
    node.inputs = [f"{name}.scale"]
    node.changes |= {"name": f"{name}.normalization", "axis": [3]}
    node.shape = nodes[f"{name}.scale"].shape
    last.inputs = [f"{name}.normalization"]
    graph.replace_by(name, {**nodes, f"{name}.normalization": node, name: last})


def folds_into(graph: EditableGraph, source: str) -> bool:
    """Whether what follows a tensor folds into the convolution or dense layer that makes it."""
    kind, node = graph.kind(source), graph.nodes[source]
    if kind is None or kind.role_of(node.layer) is not Role.LINEAR or not graph.is_alone(source):
        return False
    return "activation" in node.changes or activation_name(node.layer) == "linear"


def find_affine(graph: EditableGraph, name: str) -> None:
    """A scale and an offset of channels, whatever layer or operator it is written with."""
    node = graph.nodes[name]
    if len(node.inputs) != 1 or node.is_list:
        return
    found = affine_of(node)
    if found is None:
        return
    scale, offset = found
    apply_affine(graph, name, scale, offset)


def apply_affine(graph: EditableGraph, name: str, scale: np.ndarray, offset: np.ndarray) -> None:
    """Makes the node `name`, which has one input, the scale and offset of channels."""
    node = graph.nodes[name]
    (source,) = node.inputs
    producer = graph.nodes[source]
    if np.all(scale == 1) and np.all(offset == 0):
        graph.remove(name)
    elif isinstance(producer.layer, layers.InputLayer) and graph.is_alone(source):
        graph.replace(name, **{name: _rescaling(name, source, node.shape, scale, offset)})
    elif type(producer.layer) is layers.Rescaling and graph.is_alone(source):
        # a (b x + c) + d
        inner, added = (np.asarray(producer.layer.scale), np.asarray(producer.layer.offset))
        merged = _rescaling(name, source, node.shape, scale * inner, scale * added + offset)
        graph.replace(name, **{name: merged})
        graph.remove(source)
    elif np.all(offset == 0) and folds_into(graph, source) and producer.weights is None:
        gain = scale if producer.gain is None else producer.gain * scale
        producer.gain = gain.astype(np.float32)
        graph.remove(name)
    else:
        bias = None if np.all(offset == 0) else offset
        graph.replace_by(name, scaled_channels(name, source, node.shape, scale, bias))


def _rescaling(name: str, source: str, shape: Shape, scale: np.ndarray, offset: np.ndarray) -> Node:
    scale, offset = (
        value.item() if value.size == 1 else value.tolist()
        for value in (np.asarray(scale), np.asarray(offset))
    )
    return new(layers.Rescaling(scale, offset, name=name), source, shape=shape)


def affine_of(node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """(scale, offset) of a node with one input, each a number or [channels], float64."""
    layer = node.layer
    if type(layer) is layers.Rescaling:
        if node.is_new:
            return None  # found before
        scale, offset = (_per_channel(node.shape, value) for value in (layer.scale, layer.offset))
        return None if scale is None or offset is None else (scale, offset)
    if type(layer) is layers.Normalization:
        return _normalization(node)
    if type(layer).__name__ == "LayerScale" and hasattr(layer, "gamma"):
        return np.asarray(layer.gamma, np.float64), np.zeros(())
    return _affine_operator(node)


def _normalization(node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    layer = node.layer
    if layer.mean is None:
        raise UnsupportedLayerError(
            f"The Normalization {layer.name!r} has no mean and variance yet. Call adapt() first."
        )
    mean, variance = (_per_channel(node.shape, value) for value in (layer.mean, layer.variance))
    if mean is None or variance is None:
        return None
    deviation = np.maximum(np.sqrt(variance), keras.backend.epsilon())
    if layer.invert:
        return deviation, mean
    return 1.0 / deviation, -mean / deviation


def _per_channel(shape: Shape, value) -> np.ndarray | None:
    """A number or [channels]; None where it differs by place."""
    array = np.asarray(value, np.float64)
    if array.size == 1:
        return array.reshape(())
    return array.reshape(-1) if array.shape[-1] == array.size == shape[-1] else None


def _affine_operator(node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    operator = name_of(node)
    one, zero = np.ones(()), np.zeros(())
    if operator == "negative":
        return -one, zero
    left, right = (constant(operand(node, n, key)) for n, key in enumerate("xy"))
    given = right if left is None else left
    value = None if given is None else _per_channel(node.shape, given)
    if value is None or (left is not None and right is not None):
        return None
    match operator:
        case "add":
            return one, value
        case "subtract":
            return (one, -value) if left is None else (-one, value)
        case "multiply":
            return value, zero
        case "divide" if left is None:
            return 1.0 / value, zero
    return None


RULES = (find_affine, separate_normalization)
LAST_RULES = ()
