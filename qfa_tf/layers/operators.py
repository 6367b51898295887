"""The operators of a supernet that have no weights."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qfa_tf.layers.arithmetic import FastArithmetic
from qfa_tf.network import (
    Concatenation,
    Flatten,
    Function,
    GlobalPooling,
    Node,
    Padding,
    Pooling,
    Product,
    Rescaling,
    Sum,
    Upsampling,
)

Operator = Callable[[Any, list[tf.Tensor], FastArithmetic], tf.Tensor]
"""Takes the node, of the type that it stands under in `OPERATORS`."""


def _sum(node: Node, inputs: list[tf.Tensor], arithmetic: FastArithmetic) -> tf.Tensor:
    total, *others = inputs
    for other in others:
        total = total + other
    return total


def _product(node: Node, inputs: list[tf.Tensor], arithmetic: FastArithmetic) -> tf.Tensor:
    total, *others = inputs
    for other in others:
        total = total * other
    return total


def _concatenation(node: Node, inputs: list[tf.Tensor], arithmetic: FastArithmetic) -> tf.Tensor:
    return tf.concat(inputs, -1)


def _function(node: Function, inputs: list[tf.Tensor], arithmetic: FastArithmetic) -> tf.Tensor:
    if node.activation == "leaky_relu":
        return tf.nn.leaky_relu(inputs[0], node.slope)
    return arithmetic.activations[node.activation](inputs[0])


def _pooling(node: Pooling, inputs: list[tf.Tensor], arithmetic: FastArithmetic) -> tf.Tensor:
    pool = tf.nn.max_pool2d if node.reduction == "max" else tf.nn.avg_pool2d
    return pool(inputs[0], node.window, node.stride, node.padding.upper())


def _global_pooling(
    node: GlobalPooling, inputs: list[tf.Tensor], arithmetic: FastArithmetic
) -> tf.Tensor:
    """[N, 1, 1, C]: vectors are maps of one position in a supernet."""
    if node.reduction == "max":
        return tf.reduce_max(inputs[0], [1, 2], keepdims=True)
    return arithmetic.spatial_mean(inputs[0])[:, None, None, :]


def _padding(node: Padding, inputs: list[tf.Tensor], arithmetic: FastArithmetic) -> tf.Tensor:
    return tf.pad(inputs[0], [[0, 0], node.rows, node.columns, [0, 0]])


def _upsampling(node: Upsampling, inputs: list[tf.Tensor], arithmetic: FastArithmetic) -> tf.Tensor:
    size = tf.shape(inputs[0])[1:3] * node.factor
    return tf.cast(tf.image.resize(inputs[0], size, node.interpolation), inputs[0].dtype)


def _rescaling(node: Rescaling, inputs: list[tf.Tensor], arithmetic: FastArithmetic) -> tf.Tensor:
    scale, offset = (tf.constant(values, inputs[0].dtype) for values in (node.scale, node.offset))
    return inputs[0] * scale + offset


def _flatten(node: Flatten, inputs: list[tf.Tensor], arithmetic: FastArithmetic) -> tf.Tensor:
    """[N, 1, 1, positions C], see `_global_pooling`."""
    shape = tf.shape(inputs[0])
    return tf.reshape(inputs[0], tf.stack([shape[0], 1, 1, node.positions * shape[3]]))


OPERATORS: dict[type[Node], Operator] = {
    Sum: _sum,
    Product: _product,
    Concatenation: _concatenation,
    Function: _function,
    Pooling: _pooling,
    GlobalPooling: _global_pooling,
    Padding: _padding,
    Upsampling: _upsampling,
    Rescaling: _rescaling,
    Flatten: _flatten,
}
"""From a node, the tensors that it reads and the arithmetic of the supernet to its result."""
