"""Functions of each element: fused into the operation before them, or computed in float."""

import math

import numpy as np

from quantize_configs.activations import HardSigmoid, HardSwish, PointwiseFunction
from quantize_configs.editable_graph import EditableGraph, Node, new
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import (
    CallGraph,
    LayerCall,
    LayerKind,
    Role,
    UnsupportedLayerError,
)
from quantize_configs.layers.operators import constant, name_of, operand

layers = keras.layers

FUNCTION_NAMES = (
    "elu",
    "gelu",
    "hard_sigmoid",
    "selu",
    "sigmoid",
    "softmax",
    "swish",
    "tanh",
)
"""Functions of an Activation layer that are computed by themselves, in float."""

ACTIVATION_NAMES = ("linear", "relu", "relu6")
"""Functions that operators fuse."""

_SIXTH_TOLERANCE = 1e-6


def activation_name(layer: keras.layers.Layer) -> str:
    """Name of the activation attribute; that of the class where it is a layer."""
    function = getattr(layer, "activation", None)
    if function is None:
        return "linear"
    if isinstance(function, keras.layers.Layer):
        return type(function).__name__
    try:
        name = keras.activations.serialize(function)
    except ValueError:  # a function of the user
        return getattr(function, "__name__", repr(function))
    return {"silu": "swish"}.get(name, name) if isinstance(name, str) else repr(function)


def activation_of(layer: keras.layers.Layer) -> str:
    """Name of the activation that is fused: "linear", "relu", "relu6" or "hard_sigmoid".

    Raises:
      UnsupportedLayerError: The layer applies another function.
    """
    if isinstance(layer, HardSigmoid):
        return "hard_sigmoid"
    if isinstance(layer, layers.ReLU):
        return _relu_name(layer)
    name = activation_name(layer)
    if name not in ACTIVATION_NAMES:
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} has the activation {name!r}; allowed: {ACTIVATION_NAMES}, and "
            f"as functions of their own {FUNCTION_NAMES}."
        )
    return name


def _relu_name(layer: keras.layers.ReLU) -> str:
    """ "relu" or "relu6", which operators fuse, or "clipped_relu"."""
    if layer.threshold:
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} is a ReLU with a threshold of {layer.threshold}; only 0 is "
            "exported."
        )
    if layer.negative_slope:
        return "clipped_relu"
    limits = {None: "relu", 6.0: "relu6"}
    maximum = None if layer.max_value is None else float(layer.max_value)
    return limits.get(maximum, "clipped_relu")


def _role_of_relu(layer: keras.layers.ReLU) -> Role:
    return Role.POINTWISE if _relu_name(layer) == "clipped_relu" else Role.ACTIVATION


def _role_of_activation(layer: keras.layers.Layer) -> Role:
    return Role.POINTWISE if activation_name(layer) in FUNCTION_NAMES else Role.ACTIVATION


def _check_fusion(graph: CallGraph, call: LayerCall) -> None:
    """An activation is fused into the operation it directly follows."""
    if call.role is Role.POINTWISE:
        return
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
    if axis not in (-1, len(call.owner.input_shape) - 1):
        raise UnsupportedLayerError(
            f"The softmax {call.name!r} must be over the last axis. Received: axis {axis}."
        )


def _check_activation(graph: CallGraph, call: LayerCall) -> None:
    name = activation_name(call.layer)
    if name == "softmax":
        _check_softmax(graph, call)
    elif name not in FUNCTION_NAMES:
        _check_fusion(graph, call)


def _check_slopes(graph: CallGraph, call: LayerCall) -> None:
    alpha = call.layer.alpha
    if any(size != 1 for size in alpha.shape[:-1]):
        raise UnsupportedLayerError(
            f"The PReLU {call.name!r} has a slope for every place of the map; one for each channel "
            f"is exported. Use shared_axes={list(range(1, len(alpha.shape)))}."
        )


def _fixed(name: str):
    return lambda layer: name


LAYERS = {
    layers.ReLU: LayerKind(_role_of_relu, function=_relu_name, check=_check_fusion),
    layers.Activation: LayerKind(
        _role_of_activation, function=activation_name, check=_check_activation
    ),
    HardSigmoid: LayerKind(Role.ACTIVATION, check=_check_fusion),
    HardSwish: LayerKind(Role.POINTWISE, function=_fixed("hard_swish")),
    PointwiseFunction: LayerKind(Role.POINTWISE, function=lambda layer: f"alone_{layer.function}"),
    layers.Softmax: LayerKind(Role.POINTWISE, function=_fixed("softmax"), check=_check_softmax),
    layers.LeakyReLU: LayerKind(Role.POINTWISE, function=_fixed("leaky_relu")),
    layers.PReLU: LayerKind(Role.POINTWISE, function=_fixed("prelu"), check=_check_slopes),
    layers.ELU: LayerKind(Role.POINTWISE, function=_fixed("elu")),
}


def name_operators(graph: EditableGraph, name: str) -> None:
    """`tf.nn.relu(x)` and its like become activation layers."""
    node = graph.nodes[name]
    operator = name_of(node)
    if operator == "identity":
        graph.remove(name)
    elif operator in (*FUNCTION_NAMES, *ACTIVATION_NAMES) and len(node.inputs) == 1:
        approximate = operator == "gelu" and bool(operand(node, 1, "approximate"))
        axis = operand(node, 1, "axis") if operator == "softmax" else None
        if axis in (None, -1, len(node.shape) - 1):
            layer = layers.Activation(operator, name=name)
            if approximate:
                layer = PointwiseFunction("tanh_gelu", name=name)
            graph.nodes[name] = new(layer, *node.inputs, shape=node.shape)
            graph.changed = True


def find_hard_sigmoid(graph: EditableGraph, name: str) -> None:
    """multiply(relu6(add(x, 3)), 1/6)."""
    node = graph.nodes.get(name)
    factor = None if node is None else scalar_of(node, "multiply")
    sixth = factor is not None and math.isclose(factor, 1 / 6, rel_tol=_SIXTH_TOLERANCE)
    clipped = graph.sole_input(node if sixth else None, _is_relu6)
    shifted = graph.sole_input(clipped, lambda other: scalar_of(other, "add") == 3.0)
    if node is None or clipped is None or shifted is None:
        return
    (clip_name,), (shift_name,) = node.inputs, clipped.inputs
    graph.nodes[name] = new(HardSigmoid(name=name), *shifted.inputs, shape=node.shape)
    del graph.nodes[clip_name], graph.nodes[shift_name]
    graph.changed = True


def find_hard_swish(graph: EditableGraph, name: str) -> None:
    """Multiply of x and the hard-sigmoid of x."""
    node = graph.nodes.get(name)
    if node is None or type(node.layer) is not layers.Multiply or len(node.inputs) != 2:
        return
    for gate, source in (node.inputs, node.inputs[::-1]):
        is_gate = isinstance(graph.nodes[gate].layer, HardSigmoid) and graph.is_alone(gate)
        if is_gate and graph.nodes[gate].inputs == [source]:
            graph.nodes[name] = new(HardSwish(name=name), source, shape=node.shape)
            del graph.nodes[gate]
            graph.changed = True
            return


def scalar_of(node: Node, operator: str) -> float | None:
    """The number that an operator joins with one tensor; None for any other node."""
    if name_of(node) != operator or len(node.inputs) != 1:
        return None
    values = [constant(operand(node, 0, "x")), constant(operand(node, 1, "y"))]
    scalars = [value for value in values if value is not None and np.ndim(value) == 0]
    return float(scalars[0]) if scalars else None


def _is_relu6(node: Node) -> bool:
    layer = node.layer
    if isinstance(layer, layers.ReLU):
        return layer.max_value == 6.0 and not layer.negative_slope and not layer.threshold
    return isinstance(layer, layers.Activation) and activation_name(layer) == "relu6"


def stand_alone(graph: EditableGraph, name: str) -> None:
    """An activation that cannot be fused into what it follows is computed in float."""
    node = graph.nodes[name]
    kind = graph.kind(name)
    if kind is None or kind.role_of(node.layer) is not Role.ACTIVATION:
        return
    if type(node.layer) is layers.Activation and activation_name(node.layer) not in (
        ACTIVATION_NAMES
    ):
        return  # refused later, by name
    activation = activation_of(node.layer)
    (source,) = node.inputs
    producer = graph.kind(source)
    if activation == "linear" or producer is None:
        return
    source_layer = graph.nodes[source].layer
    role = producer.role_of(source_layer)
    fuses = producer.fuses_activation and graph.is_alone(source)
    if role is Role.LINEAR and "activation" not in graph.nodes[source].changes:
        fuses = fuses and activation_name(source_layer) == "linear"
    if activation == "hard_sigmoid":
        fuses = fuses and role in (Role.LINEAR, Role.NORMALIZATION)
    if not fuses:
        layer = PointwiseFunction(activation, name=name)
        graph.replace(name, **{name: new(layer, source, shape=node.shape)})


RULES = (name_operators, find_hard_sigmoid, find_hard_swish)
"""Before everything else, because other rules would take the operators apart."""

LAST_RULES = (stand_alone,)
