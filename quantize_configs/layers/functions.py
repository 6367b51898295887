"""Functions of each element: fused into the operation before them, or computed in float."""

import math
from typing import Any

import numpy as np

from quantize_configs.activations import HardSigmoid, HardSwish
from quantize_configs.editable_graph import EditableGraph, Node, TensorName, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import (
    CallGraph,
    LayerCall,
    LayerKind,
    Role,
    UnsupportedLayerError,
)

layers = keras.layers

FUNCTION_NAMES = ("sigmoid", "swish", "softmax")
"""Functions of an Activation layer that are computed by themselves, not fused."""

ACTIVATION_NAMES = ("linear", "relu", "relu6")
"""Functions that operators fuse."""

_SIXTH_TOLERANCE = 1e-6


def activation_name(layer: keras.layers.Layer) -> str:
    """Name of the activation attribute."""
    function = getattr(layer, "activation", None)
    if function is None:
        return "linear"
    name = keras.activations.serialize(function)
    return {"silu": "swish"}.get(name, name)


def activation_of(layer: keras.layers.Layer) -> str:
    """Name of the activation a layer applies: "linear", "relu", "relu6" or "hard_sigmoid".

    Raises:
      UnsupportedLayerError: It applies another function.
    """
    if isinstance(layer, HardSigmoid):
        return "hard_sigmoid"
    if isinstance(layer, keras.layers.ReLU):
        plain = not layer.negative_slope and not layer.threshold
        maximum = None if layer.max_value is None else float(layer.max_value)
        if plain and maximum in (None, 6.0):
            return "relu" if maximum is None else "relu6"
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} must be a plain ReLU, with max_value None or 6. Received: "
            f"max_value={layer.max_value}, negative_slope={layer.negative_slope}, "
            f"threshold={layer.threshold}."
        )
    name = activation_name(layer)
    if name not in ACTIVATION_NAMES:
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} has the activation {name!r}; allowed: {ACTIVATION_NAMES}, and "
            f"as functions of their own {FUNCTION_NAMES}."
        )
    return name


def _role_of_activation(layer: keras.layers.Layer) -> Role:
    return Role.POINTWISE if activation_name(layer) in FUNCTION_NAMES else Role.ACTIVATION


def _check_fusion(graph: CallGraph, call: LayerCall) -> None:
    """An activation is fused into the operation it directly follows."""
    activation = activation_of(call.layer)
    if activation == "linear":
        return
    producers: tuple[Role, ...] = (Role.LINEAR, Role.NORMALIZATION, Role.ARITHMETIC)
    needs = "a convolution, dense layer, batch normalization, Add, Multiply or pooling"
    if activation == "hard_sigmoid":
        producers = (Role.LINEAR, Role.NORMALIZATION)
        needs = "a convolution, dense layer or batch normalization"
    graph.require_fusion(call, producers, needs)


def _check_softmax(graph: CallGraph, call: LayerCall) -> None:
    axis = getattr(call.layer, "axis", -1)
    fits = axis in (-1, len(call.owner.input_shape) - 1)
    if not fits or call.name not in graph.outputs or graph.readers(call.name):
        raise UnsupportedLayerError(
            f"The softmax {call.name!r} must be an output of the model that nothing else "
            f"reads, over the last axis. Received: axis {axis}, "
            f"{len(graph.readers(call.name))} readers."
        )


def _check_activation(graph: CallGraph, call: LayerCall) -> None:
    name = activation_name(call.layer)
    if name == "softmax":
        _check_softmax(graph, call)
    elif name not in FUNCTION_NAMES:
        _check_fusion(graph, call)


def _check_rescaling(graph: CallGraph, call: LayerCall) -> None:
    (source,) = call.inputs
    if graph.by_name[source].role is not Role.INPUT or graph.sole_reader(source) is not call:
        raise UnsupportedLayerError(
            f"The rescaling {call.name!r} must be the only layer that reads an input of "
            f"the model. It reads {source!r}. Elsewhere, change weights or ranges instead."
        )
    if np.ndim(call.layer.scale) or np.ndim(call.layer.offset):
        raise UnsupportedLayerError(
            f"The rescaling {call.name!r} must have one scale and one offset. Received: "
            f"scale {call.layer.scale}, offset {call.layer.offset}. Fold values per "
            "channel into the first convolution."
        )


LAYERS = {
    layers.ReLU: LayerKind(Role.ACTIVATION, check=_check_fusion),
    layers.Activation: LayerKind(
        _role_of_activation, function=activation_name, check=_check_activation
    ),
    HardSigmoid: LayerKind(Role.ACTIVATION, check=_check_fusion),
    HardSwish: LayerKind(Role.POINTWISE, function=lambda layer: "hard_swish"),
    layers.Softmax: LayerKind(
        Role.POINTWISE, function=lambda layer: "softmax", check=_check_softmax
    ),
    layers.Rescaling: LayerKind(
        Role.POINTWISE, function=lambda layer: "rescaling", check=_check_rescaling
    ),
}


def find_hard_sigmoid(graph: EditableGraph, name: str) -> bool:
    """multiply(relu6(add(x, 3)), 1/6)."""
    node = graph.nodes.get(name)
    factor = None if node is None else scalar_of(node, "multiply")
    sixth = factor is not None and math.isclose(factor, 1 / 6, rel_tol=_SIXTH_TOLERANCE)
    clipped = graph.sole_input(node if sixth else None, _is_relu6)
    shifted = graph.sole_input(clipped, lambda other: scalar_of(other, "add") == 3.0)
    if node is None or clipped is None or shifted is None:
        return False
    (clip_name,), (shift_name,) = node.inputs, clipped.inputs
    graph.nodes[name] = new(HardSigmoid(name=name), *shifted.inputs)
    del graph.nodes[clip_name], graph.nodes[shift_name]
    return True


def find_hard_swish(graph: EditableGraph, name: str) -> bool:
    """Multiply of x and the hard-sigmoid of x."""
    node = graph.nodes.get(name)
    if node is None or type(node.layer) is not layers.Multiply or len(node.inputs) != 2:
        return False
    for gate, source in (node.inputs, node.inputs[::-1]):
        is_gate = isinstance(graph.nodes[gate].layer, HardSigmoid) and graph.is_alone(gate)
        if is_gate and graph.nodes[gate].inputs == [source]:
            graph.nodes[name] = new(HardSwish(name=name), source)
            del graph.nodes[gate]
            return True
    return False


OPERATOR_NAMES = {"__operators__.add": "add", "math.add": "add", "math.multiply": "multiply"}


def scalar_of(node: Node, operator: str) -> float | None:
    """The number that an operator joins with one tensor; None for any other node."""
    if OPERATOR_NAMES.get(node.operator or "") != operator or len(node.inputs) != 1:
        return None
    values = [*node.arguments, *(node.options.get(key) for key in ("x", "y"))]
    scalars = [value for value in values if _is_scalar(value)]
    return float(scalars[0]) if scalars else None


def _is_scalar(value: Any) -> bool:
    return value is not None and not isinstance(value, TensorName) and np.ndim(value) == 0


def _is_relu6(node: Node) -> bool:
    layer = node.layer
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value == 6.0 and not layer.negative_slope and not layer.threshold
    return isinstance(layer, keras.layers.Activation) and activation_name(layer) == "relu6"


RULES = (find_hard_sigmoid, find_hard_swish)
