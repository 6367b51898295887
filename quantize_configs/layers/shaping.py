"""Layers that move values without changing them, and those that do nothing at inference."""

from collections.abc import Mapping
from typing import Any

from quantize_configs.editable_graph import EditableGraph, Shape, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import (
    CallGraph,
    LayerCall,
    LayerKind,
    Role,
    UnsupportedLayerError,
)
from quantize_configs.layers.operators import name_of, operand
from quantize_configs.slicing import Slice

layers = keras.layers


def _check_enlarging(graph: CallGraph, call: LayerCall) -> None:
    if call.layer.interpolation not in ("nearest", "bilinear"):
        raise UnsupportedLayerError(
            f"Layer {call.name!r} enlarges by {call.layer.interpolation!r} interpolation; "
            "interpolation='nearest' and 'bilinear' are exported."
        )


def _role_of_enlarging(layer: keras.layers.Layer) -> Role:
    return Role.PASSING if layer.interpolation == "nearest" else Role.POINTWISE


WITHOUT_EFFECT = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.AlphaDropout,
    layers.ActivityRegularization,
    layers.RandomBrightness,
    layers.RandomContrast,
    layers.RandomFlip,
    layers.RandomRotation,
    layers.RandomTranslation,
    layers.RandomZoom,
)
"""Layers that do something in training only."""

LAYERS = {
    layers.InputLayer: LayerKind(Role.INPUT),
    layers.ZeroPadding2D: LayerKind(Role.PASSING),
    layers.UpSampling2D: LayerKind(
        _role_of_enlarging, function=lambda layer: "bilinear", check=_check_enlarging
    ),
    layers.Flatten: LayerKind(Role.PASSING),
    layers.Reshape: LayerKind(Role.PASSING),
    layers.Cropping2D: LayerKind(Role.PASSING),
    Slice: LayerKind(Role.PASSING),
    **dict.fromkeys(WITHOUT_EFFECT, LayerKind(Role.PASSING)),
}


def depth_of_blocks(graph: EditableGraph, name: str) -> None:
    """ConvNeXt's stochastic depth is a dropout of whole images."""
    node = graph.nodes[name]
    if type(node.layer).__name__ == "StochasticDepth" and hasattr(node.layer, "drop_path_rate"):
        rate = float(node.layer.drop_path_rate)
        noise = (None, *(1,) * (len(node.shape) - 1))
        layer = layers.Dropout(rate, noise_shape=noise, name=name)
        graph.replace(name, **{name: new(layer, *node.inputs, shape=node.shape)})


def name_operators(graph: EditableGraph, name: str) -> None:
    """`tf.reshape` becomes a layer where it keeps the images apart."""
    node = graph.nodes[name]
    if name_of(node) == "reshape" and len(node.inputs) == 1 and None not in node.shape[1:]:
        layer = layers.Reshape(node.shape[1:], name=name)
        graph.replace(name, **{name: new(layer, *node.inputs, shape=node.shape)})


def name_parts(graph: EditableGraph, name: str) -> None:
    """`x[:, 1:-1, :, :8]` becomes a layer where it leaves nothing out within a part."""
    node = graph.nodes[name]
    if name_of(node) != "part" or len(node.inputs) != 1:
        return
    bounds = _bounds(operand(node, 1, "slice_spec"), graph.nodes[node.inputs[0]].shape)
    if bounds is not None:
        layer = Slice(*bounds, name=name)
        graph.replace(name, **{name: new(layer, *node.inputs, shape=node.shape)})


def _bounds(key: Any, shape: Shape) -> tuple[list[int], list[int]] | None:
    """(first places, places behind the last) of all axes but the batch; None for anything else."""
    parts = [_as_slice(part) for part in (key if isinstance(key, list | tuple) else (key,))]
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        missing = len(shape) - len(parts) + 1
        parts[place : place + 1] = [slice(None)] * missing
    parts += [slice(None)] * (len(shape) - len(parts))
    if len(parts) != len(shape) or parts[0] != slice(None) or None in shape[1:]:
        return None
    begin, end = [], []
    for part, size in zip(parts[1:], shape[1:], strict=True):
        if not isinstance(part, slice) or part.step not in (None, 1):
            return None
        first, last, _ = part.indices(size)
        if first >= last:
            return None
        begin.append(first)
        end.append(last)
    return begin, end


def _as_slice(part: Any) -> Any:
    """What Keras may have written as a dict, as a slice."""
    if isinstance(part, Mapping):
        return slice(part.get("start"), part.get("stop"), part.get("step"))
    return part


RULES = (depth_of_blocks, name_operators, name_parts)
LAST_RULES = ()
