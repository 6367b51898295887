"""Operators that models are written with (`x + y`, `tf.nn.relu(x)`): their names and operands."""

from typing import Any

import numpy as np

from quantize_configs.editable_graph import Node, TensorName

NAMES = {
    "__operators__.add": "add",
    "math.add": "add",
    "math.subtract": "subtract",
    "math.multiply": "multiply",
    "math.truediv": "divide",
    "math.divide": "divide",
    "math.negative": "negative",
    "math.maximum": "maximum",
    "math.minimum": "minimum",
    "__operators__.getitem": "part",
    "concat": "concatenate",
    "nn.depth_to_space": "depth_to_space",
    "reshape": "reshape",
    "compat.v1.pad": "pad",
    "pad": "pad",
    "math.reduce_mean": "mean",
    "math.reduce_max": "largest",
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "nn.elu": "elu",
    "nn.selu": "selu",
    "nn.gelu": "gelu",
    "nn.silu": "swish",
    "nn.swish": "swish",
    "nn.softmax": "softmax",
    "nn.sigmoid": "sigmoid",
    "math.sigmoid": "sigmoid",
    "math.tanh": "tanh",
    "nn.tanh": "tanh",
    "identity": "identity",
    "stop_gradient": "identity",
}
"""By the symbol of a TFOpLambda."""


def name_of(node: Node) -> str | None:
    """Name of the operator that a node calls; None for a layer, and for one not listed here."""
    return NAMES.get(node.operator or "")


def operand(node: Node, position: int, *keywords: str) -> Any:
    """An argument of an operator, by its place or by one of its keywords; None if not given."""
    if position < len(node.arguments):
        return node.arguments[position]
    return next((node.options[key] for key in keywords if key in node.options), None)


def is_tensor(value: Any) -> bool:
    """Whether an operand is a tensor of the model."""
    return isinstance(value, TensorName)


def constant(value: Any) -> np.ndarray | None:
    """An operand that is a number or an array of numbers, float64; None for anything else."""
    if value is None or is_tensor(value):
        return None
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return array.astype(np.float64) if array.dtype.kind in "iuf" else None
