"""Layers that join tensors: they merge grids, or bring what they join onto one."""

import numpy as np

from quantize_configs.editable_graph import EditableGraph, Node, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import LayerKind, Role
from quantize_configs.layers.normalization import apply_affine
from quantize_configs.layers.operators import is_tensor, name_of, operand

layers = keras.layers

LAYERS = {
    layers.Add: LayerKind(Role.ARITHMETIC, merges=True, fuses_activation=True),
    layers.Multiply: LayerKind(Role.ARITHMETIC, merges=True, fuses_activation=True),
    layers.Maximum: LayerKind(Role.ARITHMETIC, merges=True),
    layers.Minimum: LayerKind(Role.ARITHMETIC, merges=True),
    layers.Concatenate: LayerKind(Role.ARITHMETIC, merges=True, shares_grid=True),
}

_OPERATORS = {
    "add": layers.Add,
    "multiply": layers.Multiply,
    "subtract": layers.Subtract,
    "maximum": layers.Maximum,
    "minimum": layers.Minimum,
}
_CHAINED = (layers.Add, layers.Multiply, layers.Maximum, layers.Minimum)


def name_operators(graph: EditableGraph, name: str) -> None:
    """`x + y`, `tf.concat` and their like become layers."""
    node = graph.nodes[name]
    operator = name_of(node)
    if operator == "concatenate":
        axis = operand(node, 1, "axis")
        values = operand(node, 0, "values")
        if isinstance(values, list | tuple) and all(map(is_tensor, values)):
            _use(graph, name, layers.Concatenate(axis, name=name), list(values))
    elif operator in _OPERATORS:
        operands = [operand(node, n, key) for n, key in enumerate("xy")]
        if all(map(is_tensor, operands)):
            _use(graph, name, _OPERATORS[operator](name=name), operands)


def _use(graph: EditableGraph, name: str, layer, inputs: list[str]) -> None:
    shape = graph.nodes[name].shape
    graph.replace(name, **{name: new(layer, *map(str, inputs), shape=shape, is_list=True)})


def scale_of_sum(graph: EditableGraph, name: str) -> None:
    """Inception-ResNet's residual sum x + scale y."""
    node = graph.nodes[name]
    if type(node.layer).__name__ == "CustomScaleLayer" and hasattr(node.layer, "scale"):
        _add_scaled(graph, name, node.inputs, float(node.layer.scale))


def subtract(graph: EditableGraph, name: str) -> None:
    """x - y is x + (-1) y."""
    node = graph.nodes[name]
    if type(node.layer) is layers.Subtract:
        _add_scaled(graph, name, node.inputs, -1.0)


def _add_scaled(graph: EditableGraph, name: str, inputs: list[str], scale: float) -> None:
    left, right = inputs
    shape = graph.nodes[name].shape
    scaled = f"{name}.scaled"
    identity = new(layers.Activation("linear", name=scaled), right, shape=graph.nodes[right].shape)
    total = new(layers.Add(name=name), left, scaled, shape=shape, is_list=True)
    graph.replace_by(name, {scaled: identity, name: total})
    apply_affine(graph, scaled, np.array(scale), np.zeros(()))


def average(graph: EditableGraph, name: str) -> None:
    """The mean of n tensors is their sum, times 1 / n."""
    node = graph.nodes[name]
    if type(node.layer) is not layers.Average:
        return
    total = new(layers.Add(name=f"{name}.sum"), *node.inputs, shape=node.shape, is_list=True)
    identity = new(layers.Activation("linear", name=name), f"{name}.sum", shape=node.shape)
    graph.replace_by(name, {f"{name}.sum": total, name: identity})
    apply_affine(graph, name, np.array(1.0 / len(node.inputs)), np.zeros(()))


def match_ranks(graph: EditableGraph, name: str) -> None:
    """(N, C) beside (N, H, W, C) is read as (N, 1, 1, C), as Keras does."""
    node = graph.nodes[name]
    if type(node.layer) not in _CHAINED:
        return
    rank = max(len(graph.nodes[source].shape) for source in node.inputs)
    added: dict[str, Node] = {}
    for number, source in enumerate(node.inputs):
        shape = graph.nodes[source].shape
        if len(shape) == rank:
            continue
        target = (*(1,) * (rank - len(shape)), *shape[1:])
        reshaped = f"{name}.input_{number}"
        added[reshaped] = new(
            layers.Reshape(target, name=reshaped), source, shape=(shape[0], *target)
        )
        node.inputs[number] = reshaped
    if added:
        graph.replace_by(name, {**added, name: node})


def chain(graph: EditableGraph, name: str) -> None:
    """A sum of three is a sum of a sum."""
    node = graph.nodes[name]
    kind = type(node.layer)
    if kind not in _CHAINED or len(node.inputs) < 3:
        return
    first, *rest = node.inputs
    nodes: dict[str, Node] = {}
    for number, source in enumerate(rest[:-1], 1):
        partial = f"{name}.partial_{number}"
        nodes[partial] = new(kind(name=partial), first, source, shape=node.shape, is_list=True)
        first = partial
    node.inputs = [first, rest[-1]]
    graph.replace_by(name, {**nodes, name: node})


RULES = (name_operators, scale_of_sum, subtract, average, match_ranks, chain)
LAST_RULES = ()
