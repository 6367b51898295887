"""Layers that move values without changing them, and those that do nothing at inference."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from quantize_configs.depth_to_space import DepthToSpace
from quantize_configs.editable_graph import EditableGraph, Node, Shape, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import (
    CallGraph,
    LayerCall,
    LayerKind,
    Role,
    UnsupportedLayerError,
)
from quantize_configs.layers.operators import constant, name_of, operand
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
    layers.Identity,
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
        _role_of_enlarging,
        function=lambda layer: "bilinear",
        outside_xnnpack=lambda layer: layer.interpolation == "nearest",
        check=_check_enlarging,
    ),
    layers.Flatten: LayerKind(Role.PASSING),
    layers.Reshape: LayerKind(Role.PASSING),
    layers.Cropping2D: LayerKind(Role.PASSING),
    Slice: LayerKind(Role.PASSING),
    DepthToSpace: LayerKind(Role.PASSING),
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
    """Operators that are layers, too: `tf.reshape` and `tf.pad` that keep the images apart."""
    node = graph.nodes[name]
    if len(node.inputs) != 1 or None in node.shape[1:]:
        return
    operator = name_of(node)
    if operator == "reshape":
        layer = layers.Reshape(node.shape[1:], name=name)
    elif operator == "depth_to_space" and len(node.shape) == 4:
        layer = DepthToSpace(operand(node, 1, "block_size"), name=name)
    elif operator == "pad":
        layer = layers.ZeroPadding2D(_borders(node, name), name=name)
    else:
        return
    graph.replace(name, **{name: new(layer, *node.inputs, shape=node.shape)})


def _borders(node: Node, name: str) -> tuple[tuple[int, int], ...]:
    """((top, bottom), (left, right)) of a `tf.pad` with zeros around images.

    Raises:
      UnsupportedLayerError: It pads in another way.
    """
    sizes = constant(operand(node, 1, "paddings"))
    mode = operand(node, 2, "mode") or "CONSTANT"
    # The older signature, which models have, names the operator before the value.
    place = 4 if str(node.operator).startswith("compat.v1") else 3
    filling = operand(node, place, "constant_values")
    is_zero = filling is None or (constant(filling) is not None and not np.any(constant(filling)))
    fits = sizes is not None and sizes.shape == (4, 2) and not sizes[[0, 3]].any()
    if sizes is None or not (fits and is_zero and str(mode).upper() == "CONSTANT"):
        raise UnsupportedLayerError(
            f"Layer {name!r} pads {'' if sizes is None else sizes.astype(int).tolist()} in mode "
            f"{mode!r} with {0 if filling is None else filling!r}; zeros around the height and "
            "width of images are exported, as ZeroPadding2D does."
        )
    top, left = ((int(before), int(after)) for before, after in sizes[1:3])
    return top, left


def name_parts(graph: EditableGraph, name: str) -> None:
    """`x[:, 1:-1, ::2, :8]` becomes a part of all axes, of whose pixels a pool skips some."""
    node = graph.nodes[name]
    if name_of(node) != "part" or len(node.inputs) != 1:
        return
    (source,) = node.inputs
    shape = graph.nodes[source].shape
    begin, end, steps = _bounds(name, operand(node, 1, "slice_spec"), shape)
    sizes = tuple(last - first for first, last in zip(begin, end, strict=True))
    parts: list[tuple[Any, dict[str, Any], Shape]] = [(Slice, {"begin": begin, "end": end}, sizes)]
    if set(steps) != {1}:
        sizes = tuple(-(-size // step) for size, step in zip(sizes, steps, strict=True))
        parts.append((layers.MaxPooling2D, {"pool_size": 1, "strides": steps[:2]}, sizes))
    if sizes != tuple(node.shape[1:]):  # an axis of which one place is taken is left out
        target = node.shape[1:]
        parts.append((layers.Reshape, {"target_shape": target}, target))
    nodes = {}
    for number, (kind, options, sizes) in enumerate(parts, 1):
        added = name if number == len(parts) else f"{name}.part_{number}"
        nodes[added] = new(kind(**options, name=added), source, shape=(None, *sizes))
        source = added
    graph.replace_by(name, nodes)


def _bounds(name: str, key: Any, shape: Shape) -> tuple[list[int], list[int], list[int]]:
    """First places, places behind the last and steps, of all axes but the batch.

    Raises:
      UnsupportedLayerError: It is another kind of part.
    """
    refusal = UnsupportedLayerError(
        f"Layer {name!r} takes a part of a tensor that is not exported: of every axis but the "
        "batch it may take one place or a range, of height and width of images with a positive "
        "step. Take the part in another way, such as a convolution or a Reshape."
    )
    parts = [_as_slice(part) for part in (key if isinstance(key, list | tuple) else (key,))]
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        missing = len(shape) - len(parts) + 1
        parts[place : place + 1] = [slice(None)] * missing
    parts += [slice(None)] * (len(shape) - len(parts))
    if len(parts) != len(shape) or parts[0] != slice(None) or None in shape[1:]:
        raise refusal
    begin, end, steps = [], [], []
    for axis, (part, size) in enumerate(zip(parts[1:], shape[1:], strict=True), 1):
        if isinstance(part, int) and not isinstance(part, bool):
            part = slice(part % size, part % size + 1)
        if not isinstance(part, slice):
            raise refusal
        first, last, step = part.indices(size)
        if step < 1 or first >= last or (step > 1 and not (len(shape) == 4 and axis < 3)):
            raise refusal
        begin.append(first)
        end.append(last)
        steps.append(step)
    return begin, end, steps


def _as_slice(part: Any) -> Any:
    """What Keras may have written as a dict, as a slice."""
    if isinstance(part, Mapping):
        return slice(part.get("start"), part.get("stop"), part.get("step"))
    return part


RULES = (depth_of_blocks, name_operators, name_parts)
LAST_RULES = ()
