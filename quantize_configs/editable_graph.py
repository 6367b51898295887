"""A functional Keras model as calls that can be replaced, and the model of what comes out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.composite_layers import as_model, is_composite
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import LayerKind, Refuse, UnsupportedLayerError, raise_refusal

Shape = tuple[Any, ...]
"""Sizes of a tensor; None for the batch and for sizes that are open."""


class TensorName(str):
    """The name of a tensor among the arguments of an operator."""


@dataclasses.dataclass
class Node:
    """One call of a layer; its output tensor goes by the name of the node.

    Attributes:
      layer: The layer of the model, or a new one.
      inputs: Names of the tensors it reads, in order.
      shape: Of its output, the batch included.
      is_list: Whether it is called with a list of tensors.
      arguments: Positional arguments of a call of an operator (TFOpLambda), with the names of
        tensors as `TensorName`.
      options: Keyword arguments of such a call.
      changes: Settings in which the copy of the layer differs.
      weights: Of a new layer, set when it has been built; None leaves them as they are.
      gain: What the weights of a convolution or dense layer are multiplied with, [output channels]
        or a number; None for nothing.
      is_new: Whether the layer was made for the graph, so that it is called itself, not a copy.
    """

    layer: keras.layers.Layer
    inputs: list[str]
    shape: Shape
    is_list: bool = False
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    weights: Sequence[np.ndarray] | None = None
    gain: np.ndarray | None = None
    is_new: bool = False

    @property
    def operator(self) -> str | None:
        """Symbol of a call of an operator, such as "math.add"; None for a layer."""
        return getattr(self.layer, "symbol", None)


def new(
    layer: keras.layers.Layer,
    *inputs: str,
    shape: Shape,
    weights: Sequence[np.ndarray] | None = None,
    is_list: bool = False,
) -> Node:
    """A node of a layer that is made for the graph."""
    return Node(layer, list(inputs), shape, is_list, weights=weights, is_new=True)


def copied(layer: keras.layers.Layer, input_shape, **changes) -> keras.layers.Layer:
    """A built layer with the configuration, but for `changes`, and the weights of `layer`."""
    copy = type(layer).from_config({**layer.get_config(), **changes})
    with tf.name_scope(copy.name):
        copy.build(input_shape)
    copy.set_weights(layer.get_weights())
    return copy


class EditableGraph:
    """The calls of a model by name, in topological order.

    A model inside the model is taken apart, and so is a layer that is built of others. A layer that
    is called several times becomes several layers with the same weights, because each call has
    grids of its own.

    Args:
      model: Functional or sequential model.
      kinds: How layers are treated, by class.
      refuse: Takes note of layers that will not go through; by default the first one is raised.

    Attributes:
      nodes: By name.
      outputs: Names of the tensors the model gives.
      changed: Whether the calls are not those of the model any more.
      unshared: Names of the nodes that have a copy of the weights of another one.

    Raises:
      UnsupportedLayerError: A layer has several outputs.
    """

    def __init__(
        self,
        model: keras.Model,
        kinds: Mapping[type[keras.layers.Layer], LayerKind],
        refuse: Refuse = raise_refusal,
    ):
        self._model = model
        self._kinds = kinds
        self._refuse = refuse
        self.nodes: dict[str, Node] = {}
        self.changed = False
        self.unshared: list[str] = []
        self.outputs = self._add_model(model, None, "")

    def kind(self, name: str) -> LayerKind | None:
        """How the layer of a node is treated; None for a class that nobody knows."""
        return self._kinds.get(type(self.nodes[name].layer))

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
        self._redirect(name, inserted)
        self._place(name, {name: self.nodes[name], inserted: node})

    def replace(self, name: str, **nodes: Node) -> None:
        """Puts nodes in the place of one; the last one has its name."""
        self.replace_by(name, nodes)

    def replace_by(self, name: str, nodes: Mapping[str, Node]) -> None:
        """Puts nodes, in order, in the place of one; what read it reads the one of its name."""
        self._place(name, nodes)

    def swap(self, first: str, second: str) -> None:
        """Puts `second`, the only node that reads `first`, in front of it."""
        before, after = self.nodes[first], self.nodes[second]
        self._redirect(second, first)
        after.inputs, before.inputs = before.inputs, [second]
        rebuilt: dict[str, Node] = {}
        for key, value in self.nodes.items():
            if key != first:
                rebuilt[key] = value
            if key == second:
                rebuilt[first] = before
        self.nodes = rebuilt
        self.changed = True

    def remove(self, name: str) -> None:
        """Takes a node with one input away; what read it reads what it read."""
        (source,) = self.nodes[name].inputs
        del self.nodes[name]
        self._redirect(name, source)
        self.changed = True

    def _redirect(self, name: str, other: str) -> None:
        for node in self.nodes.values():
            if name not in node.inputs:
                continue
            node.inputs = [other if source == name else source for source in node.inputs]
            node.arguments, node.options = tf.nest.map_structure(
                lambda value: TensorName(other) if _is_name(value, name) else value,
                (node.arguments, node.options),
            )
        self.outputs = [other if output == name else output for output in self.outputs]

    def _place(self, name: str, nodes: Mapping[str, Node]) -> None:
        rebuilt: dict[str, Node] = {}
        for key, value in self.nodes.items():
            rebuilt.update(nodes if key == name else {key: value})
        self.nodes = rebuilt
        self.changed = True

    # Taking a model apart.

    def _add_model(self, model, arguments: list[str] | None, prefix: str) -> list[str]:
        """Adds the calls of a model; returns the names of its outputs."""
        names: dict[int, list[str]] = {}

        def name_of(tensor) -> str:
            history = tensor._keras_history
            node = history.layer._inbound_nodes[history.node_index]
            return names[id(node)][history.tensor_index]

        inputs = [tensor._keras_history.layer for tensor in model.inputs]
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                layer = node.layer
                if node.is_input and arguments is not None:
                    names[id(node)] = [arguments[inputs.index(layer)]]
                    continue
                sources = [] if node.is_input else [name_of(t) for t in node.keras_inputs]
                inner = None if node.is_input else self._inner_model(node)
                if inner is not None:
                    self.changed = True
                    names[id(node)] = self._add_model(inner, sources, f"{prefix}{layer.name}.")
                    continue
                name = self._free_name(layer.name, prefix)
                self.nodes[name] = self._node(node, name, sources, name_of)
                names[id(node)] = [name] * len(tf.nest.flatten(node.outputs))
        return [name_of(tensor) for tensor in model.outputs]

    def _inner_model(self, node) -> keras.Model | None:
        """The model that a node calls, or that its layer is built of."""
        layer = node.layer
        if type(layer) in self._kinds:
            return None
        if isinstance(layer, keras.Model) and layer._is_graph_network:
            return layer
        if not is_composite(layer):
            return None
        try:
            return as_model(layer, node)
        except UnsupportedLayerError as error:
            self._refuse(layer.name, error)
            return None

    def _free_name(self, name: str, prefix: str) -> str:
        if name not in self.nodes:
            return name
        candidates = (f"{prefix}{name}", *(f"{prefix}{name}.call_{n}" for n in range(2, 10000)))
        return next(candidate for candidate in candidates if candidate not in self.nodes)

    def _node(self, node, name: str, sources: list[str], name_of) -> Node:
        layer = node.layer
        if node.is_input:
            return Node(layer, [], tuple(layer.output_shape[0]))
        if isinstance(node.outputs, list | tuple | dict):
            sentence = (
                f"Layer {layer.name!r} ({type(layer).__name__}) makes several tensors; layers that "
                "make one can be quantized."
            )
            self._refuse(layer.name, UnsupportedLayerError(sentence))
            return Node(layer, sources, ())
        if node.call_kwargs.get("training") is True or any(a is True for a in node.call_args[1:]):
            sentence = (
                f"Layer {layer.name!r} ({type(layer).__name__}) is called with training=True, "
                "which no deployed network does. Leave the argument out."
            )
            self._refuse(layer.name, UnsupportedLayerError(sentence))
        is_list = bool(node.call_args) and isinstance(node.call_args[0], list | tuple)
        arguments, options = tf.nest.map_structure(
            lambda value: TensorName(name_of(value)) if hasattr(value, "_keras_history") else value,
            (node.call_args, node.call_kwargs),
        )
        found = Node(
            layer, sources, tuple(node.outputs.shape), is_list, tuple(arguments), dict(options)
        )
        if name != layer.name:
            found.changes["name"] = name
            self.changed = True
        if layer.weights and any(other.layer is layer for other in self.nodes.values()):
            self.unshared.append(name)
        return found

    # Putting it together.

    def rebuilt(self) -> keras.Model:
        """The model of the nodes, with the weights of the layers."""
        tensors: dict[str, Any] = {}
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
            if node.gain is not None:
                _multiply_weights(layer, node.gain)
        inputs = [tensors[tensor._keras_history.layer.name] for tensor in self._model.inputs]
        outputs = [tensors[name] for name in self.outputs]
        return keras.Model(inputs, outputs, name=self._model.name)


def _multiply_weights(layer, gain: np.ndarray) -> None:
    kernel, *bias = layer.get_weights()
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    shape = kernel.shape[-2:] if depthwise and np.ndim(gain) else np.shape(gain)
    layer.set_weights([kernel * np.reshape(gain, shape), *(values * gain for values in bias)])


def _is_name(value: Any, name: str) -> bool:
    return isinstance(value, TensorName) and value == name


def _shape(tensor) -> Shape:
    return tuple(tensor.shape)
