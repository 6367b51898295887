"""Writing a model's functions as layers that can be quantized.

tf_keras.applications and other models compute hard-sigmoid and hard-swish from operators
(`relu6(x + 3) * (1 / 6)`), and give Dense and Conv2D layers activations that no device fuses. Both
become layers of their own here; the function of the model stays the same.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from quantize_configs.activations import HardSigmoid, HardSwish
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.layer_roles import (
    FUNCTION_NAMES,
    MERGING_LAYERS,
    ROLES,
    WEIGHT_ATTRIBUTES,
    activation_name,
)

_OPERATORS = {"__operators__.add": "add", "math.add": "add", "math.multiply": "multiply"}
_SIXTH_TOLERANCE = 1e-6
_SPLIT = ".function"
"""What is appended to the name of a layer for the function that was its activation."""


@dataclasses.dataclass
class _Node:
    """One call: its layer, what it reads, and the scalar of an operator with one."""

    layer: keras.layers.Layer
    inputs: list[str]
    operator: str | None = None
    constant: float | None = None


def as_quantizable(model: keras.Model) -> keras.Model:
    """A model of supported layers that computes what `model` does.

    Returns:
      `model` itself when nothing is to be rewritten, or when a layer is unknown anyway; otherwise
      a copy with the same weights. Names of convolutions and dense layers stay.

    Raises:
      TypeError, ValueError: `model` is no built functional or sequential `tf_keras` model.
    """
    require_functional(model)
    rewriter = _Rewriter(model)
    if not rewriter.rewrite():
        return model
    return tf.autograph.experimental.do_not_convert(rewriter.rebuilt)()


def copied(layer: keras.layers.Layer, input_shape, **changes) -> keras.layers.Layer:
    """A built layer with the configuration, but for `changes`, and the weights of `layer`."""
    copy = type(layer).from_config({**layer.get_config(), **changes})
    with tf.name_scope(layer.name):
        copy.build(input_shape)
    copy.set_weights(layer.get_weights())
    return copy


class _Rewriter:
    def __init__(self, model):
        self._model = model
        self._outputs = [tensor._keras_history.layer.name for tensor in model.outputs]
        self._nodes = {}
        self._is_regular = True
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                self._is_regular &= node.layer.name not in self._nodes
                self._nodes[node.layer.name] = _node(node)

    def rewrite(self) -> bool:
        """Changes the nodes; whether something changed and the result can be built."""
        found = [self._find_hard_sigmoid, self._find_hard_swish, self._split_activation]
        changed = False
        if self._is_regular:
            for find in found:
                for name in list(self._nodes):
                    changed |= find(name)
        return changed and all(type(node.layer) in ROLES for node in self._nodes.values())

    def rebuilt(self) -> keras.Model:
        """The model of the nodes."""
        tensors = {}
        for name, node in self._nodes.items():
            layer = node.layer
            if isinstance(layer, keras.layers.InputLayer):
                shape = layer.input_shape[0][1:]
                tensors[name] = keras.Input(shape, name=layer.name, dtype=layer.dtype)
                continue
            arguments = [tensors[source] for source in node.inputs]
            if not isinstance(layer, MERGING_LAYERS):
                (arguments,) = arguments
            if name in self._model_layers:
                linear = {"activation": None} if name in self._split else {}
                layer = copied(layer, tf.nest.map_structure(_shape, arguments), **linear)
            tensors[name] = layer(arguments)
        inputs = [tensors[tensor._keras_history.layer.name] for tensor in self._model.inputs]
        outputs = [tensors[name] for name in self._outputs]
        return keras.Model(inputs, outputs, name=self._model.name)

    @property
    def _model_layers(self):
        kept = {id(layer) for layer in self._model.layers}
        return {name for name, node in self._nodes.items() if id(node.layer) in kept}

    @property
    def _split(self):
        return {node.inputs[0] for name, node in self._nodes.items() if name.endswith(_SPLIT)}

    def _sole_input(self, node, matches):
        """The node that `node` reads, if it alone reads it and it matches."""
        if node is None or len(node.inputs) != 1:
            return None
        source = node.inputs[0]
        readers = sum(other.inputs.count(source) for other in self._nodes.values())
        alone = readers == 1 and source not in self._outputs
        return self._nodes[source] if alone and matches(self._nodes[source]) else None

    def _find_hard_sigmoid(self, name) -> bool:
        """multiply(relu6(add(x, 3)), 1/6)."""
        node = self._nodes.get(name)
        sixth = (
            node is not None
            and node.operator == "multiply"
            and math.isclose(node.constant, 1 / 6, rel_tol=_SIXTH_TOLERANCE)
        )
        clipped = self._sole_input(node if sixth else None, _is_relu6)
        shifted = self._sole_input(clipped, lambda n: n.operator == "add" and n.constant == 3.0)
        if shifted is None:
            return False
        (clip_name,), (shift_name,) = node.inputs, clipped.inputs
        self._nodes[name] = _Node(HardSigmoid(name=name), shifted.inputs)
        del self._nodes[clip_name], self._nodes[shift_name]
        return True

    def _find_hard_swish(self, name) -> bool:
        """Multiply of x and the hard-sigmoid of x."""
        node = self._nodes.get(name)
        if node is None or type(node.layer) is not keras.layers.Multiply or len(node.inputs) != 2:
            return False
        for gate, source in (node.inputs, node.inputs[::-1]):
            gate_node = self._nodes[gate]
            reader = _Node(node.layer, [gate])
            alone = self._sole_input(reader, lambda n: isinstance(n.layer, HardSigmoid))
            if alone is not None and gate_node.inputs == [source]:
                self._nodes[name] = _Node(HardSwish(name=name), [source])
                del self._nodes[gate]
                return True
        return False

    def _split_activation(self, name) -> bool:
        """A convolution or dense layer with a function that cannot be fused."""
        node = self._nodes.get(name)
        if node is None or type(node.layer) not in WEIGHT_ATTRIBUTES:
            return False
        function = activation_name(node.layer)
        if function not in FUNCTION_NAMES:
            return False
        new = f"{name}{_SPLIT}"
        for other in self._nodes.values():
            other.inputs = [new if source == name else source for source in other.inputs]
        self._outputs = [new if output == name else output for output in self._outputs]
        activation = _Node(keras.layers.Activation(function, name=new), [name])
        rebuilt = {}
        for key, value in self._nodes.items():
            rebuilt[key] = value
            if key == name:
                rebuilt[new] = activation
        self._nodes = rebuilt
        return True


def _node(node) -> _Node:
    layer = node.layer
    if node.is_input:
        return _Node(layer, [])
    inputs = [tensor._keras_history.layer.name for tensor in node.keras_inputs]
    operator = _OPERATORS.get(getattr(layer, "symbol", None))
    if operator is None or len(inputs) != 1:
        return _Node(layer, inputs)
    arguments = [*node.call_args, *(node.call_kwargs.get(key) for key in ("x", "y"))]
    scalars = [value for value in arguments if _is_scalar(value)]
    return _Node(layer, inputs, operator, float(scalars[0])) if scalars else _Node(layer, inputs)


def _is_scalar(value) -> bool:
    is_symbolic = value is None or hasattr(value, "_keras_history")
    return not is_symbolic and np.ndim(value) == 0


def _is_relu6(node) -> bool:
    layer = node.layer
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value == 6.0 and not layer.negative_slope and not layer.threshold
    return isinstance(layer, keras.layers.Activation) and activation_name(layer) == "relu6"


def _shape(tensor):
    return tuple(tensor.shape)
