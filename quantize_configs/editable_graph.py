"""A functional Keras model as calls that can be replaced, and the model of what comes out."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.keras_backend import keras


@dataclasses.dataclass
class Node:
    """One call of a layer; its output tensor goes by the name of the node.

    Attributes:
      layer: The layer of the model, or a new one.
      inputs: Names of the tensors it reads, in order.
      is_list: Whether it is called with a list of tensors.
      arguments: Positional arguments of a call of an operator (TFOpLambda), with the names of
        tensors as `TensorName`.
      options: Keyword arguments of such a call.
      changes: Settings in which the copy of the layer differs.
      weights: Of a new layer, set when it has been built; None leaves them as they are.
      is_new: Whether the layer was made for the graph, so that it is called itself, not a copy.
    """

    layer: keras.layers.Layer
    inputs: list[str]
    is_list: bool = False
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    weights: Sequence[np.ndarray] | None = None
    is_new: bool = False

    @property
    def operator(self) -> str | None:
        """Symbol of a call of an operator, such as "math.add"; None for a layer."""
        return getattr(self.layer, "symbol", None)


class TensorName(str):
    """The name of a tensor among the arguments of an operator."""


def new(layer: keras.layers.Layer, *inputs: str, weights=None, is_list: bool = False) -> Node:
    """A node of a layer that is made for the graph."""
    return Node(layer, list(inputs), is_list, weights=weights, is_new=True)


def copied(layer: keras.layers.Layer, input_shape, **changes) -> keras.layers.Layer:
    """A built layer with the configuration, but for `changes`, and the weights of `layer`."""
    copy = type(layer).from_config({**layer.get_config(), **changes})
    with tf.name_scope(copy.name):
        copy.build(input_shape)
    copy.set_weights(layer.get_weights())
    return copy


class EditableGraph:
    """The calls of a model by name, in topological order.

    Args:
      model: Functional or sequential model.

    Attributes:
      nodes: By name.
      outputs: Names of the tensors the model gives.
      is_regular: Whether every layer is called once, by one tensor each.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self.nodes: dict[str, Node] = {}
        self.outputs = [tensor._keras_history.layer.name for tensor in model.outputs]
        self.is_regular = True
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                self.is_regular &= node.layer.name not in self.nodes
                self.nodes[node.layer.name] = _node(node)

    def shape(self, name: str) -> tuple[int | None, ...]:
        """Shape of a tensor of the model, the batch included."""
        return tuple(self.nodes[name].layer.output_shape)

    def readers(self, name: str) -> list[str]:
        """Names of the nodes that read a tensor, once for each time."""
        return [key for key, node in self.nodes.items() for source in node.inputs if source == name]

    def is_alone(self, name: str) -> bool:
        """Whether one node reads a tensor, once, and it is no output."""
        return len(self.readers(name)) == 1 and name not in self.outputs

    def sole_input(self, node: Node | None, matches: Callable[[Node], bool]) -> Node | None:
        """The node that `node` reads, if it alone reads it and it matches."""
        if node is None or len(node.inputs) != 1:
            return None
        source = node.inputs[0]
        return self.nodes[source] if self.is_alone(source) and matches(self.nodes[source]) else None

    def insert_after(self, name: str, inserted: str, node: Node) -> None:
        """Puts a node between a tensor and everything that reads it."""
        for other in self.nodes.values():
            other.inputs = [inserted if source == name else source for source in other.inputs]
        self.outputs = [inserted if output == name else output for output in self.outputs]
        self._place(name, {name: self.nodes[name], inserted: node})

    def insert_before(self, name: str, **nodes: Node) -> None:
        """Puts nodes in front of one in the order of the graph; `name` is not changed."""
        self._place(name, {**nodes, name: self.nodes[name]})

    def replace(self, name: str, **nodes: Node) -> None:
        """Puts nodes in the place of one; the last has its name."""
        self._place(name, nodes)

    def remove(self, name: str) -> None:
        """Takes a node with one input away; what read it reads what it read."""
        (source,) = self.nodes[name].inputs
        for other in self.nodes.values():
            other.inputs = [source if given == name else given for given in other.inputs]
        self.outputs = [source if output == name else output for output in self.outputs]
        del self.nodes[name]

    def _place(self, name: str, nodes: dict[str, Node]) -> None:
        rebuilt = {}
        for key, value in self.nodes.items():
            rebuilt.update(nodes if key == name else {key: value})
        self.nodes = rebuilt

    def rebuilt(self) -> keras.Model:
        """The model of the nodes, with the weights of the layers."""
        tensors = {}
        for name, node in self.nodes.items():
            layer = node.layer
            if isinstance(layer, keras.layers.InputLayer):
                shape = layer.input_shape[0][1:]
                tensors[name] = keras.Input(shape, name=layer.name, dtype=layer.dtype)
                continue
            arguments = [tensors[source] for source in node.inputs]
            if not node.is_list:
                (arguments,) = arguments
            if not node.is_new:
                layer = copied(layer, tf.nest.map_structure(_shape, arguments), **node.changes)
            tensors[name] = layer(arguments)
            if node.weights is not None:
                layer.set_weights(node.weights)
        inputs = [tensors[tensor._keras_history.layer.name] for tensor in self._model.inputs]
        outputs = [tensors[name] for name in self.outputs]
        return keras.Model(inputs, outputs, name=self._model.name)


def _node(node) -> Node:
    if node.is_input:
        return Node(node.layer, [])
    inputs = [tensor._keras_history.layer.name for tensor in node.keras_inputs]
    is_list = bool(node.call_args) and isinstance(node.call_args[0], list | tuple)
    arguments, options = tf.nest.map_structure(_argument, (node.call_args, node.call_kwargs))
    return Node(node.layer, inputs, is_list, tuple(arguments), options)


def _argument(value):
    is_symbolic = hasattr(value, "_keras_history")
    return TensorName(value._keras_history.layer.name) if is_symbolic else value


def _shape(tensor):
    return tuple(tensor.shape)
