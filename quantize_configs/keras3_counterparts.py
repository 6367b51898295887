"""What a layer or operator of Keras 3 is in `tf_keras`.

Most layers have a namesake that takes the same options. The tables say where that is not so.
Nothing rests on them being complete: a converted model is compared with its original.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from quantize_configs.activations import HardSigmoid, HardSwish
from quantize_configs.keras_backend import keras
from quantize_configs.layers.kinds import UnsupportedLayerError

layers = keras.layers

RENAMED_OPTIONS = {"LeakyReLU": {"negative_slope": "alpha"}}
"""Options with another name in `tf_keras`, by layer."""

SPLIT_ACTIVATIONS: dict[str, Callable[[str], keras.layers.Layer]] = {
    "hard_sigmoid": lambda name: HardSigmoid(name=name),  # that of tf_keras is another function
    "hard_silu": lambda name: HardSwish(name=name),
    "hard_swish": lambda name: HardSwish(name=name),
    "leaky_relu": lambda name: layers.LeakyReLU(0.2, name=name),
    "relu6": lambda name: layers.ReLU(6.0, name=name),
    "silu": lambda name: layers.Activation("swish", name=name),
}
"""Activations that `tf_keras` does not know by this name, as layers behind the one with them."""


def _hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def _axes(op: Any) -> Any:
    return list(op.axis) if isinstance(op.axis, list | tuple) else op.axis


Operator = Callable[..., Any]

OPERATORS: dict[str, Callable[[Any], Operator]] = {
    "Abs": lambda op: tf.abs,
    "Absolute": lambda op: tf.abs,
    "Add": lambda op: tf.add,
    "Concatenate": lambda op: lambda xs: tf.concat(xs, op.axis),
    "Divide": lambda op: tf.divide,
    "Elu": lambda op: lambda x: layers.ELU(op.alpha)(x),
    "Exp": lambda op: tf.exp,
    "ExpandDims": lambda op: lambda x: tf.expand_dims(x, op.axis),
    "Gelu": lambda op: lambda x: tf.nn.gelu(x, op.approximate),
    "GetItem": lambda op: lambda x, key: x[key],
    "HardSigmoid": lambda op: _hard_sigmoid,
    "HardSilu": lambda op: lambda x: x * _hard_sigmoid(x),
    "LeakyRelu": lambda op: lambda x: layers.LeakyReLU(op.negative_slope)(x),
    "Max": lambda op: lambda x: tf.reduce_max(x, _axes(op), op.keepdims),
    "Maximum": lambda op: tf.maximum,
    "Mean": lambda op: lambda x: tf.reduce_mean(x, _axes(op), op.keepdims),
    "Minimum": lambda op: tf.minimum,
    "Multiply": lambda op: tf.multiply,
    "Negative": lambda op: tf.negative,
    "Pad": lambda op: (
        lambda x, constant_values=None: tf.pad(
            x,
            op.pad_width if len(op.pad_width) > 1 else op.pad_width * len(x.shape),
            op.mode,
            constant_values=constant_values or 0,
        )
    ),
    "Relu": lambda op: tf.nn.relu,
    "Relu6": lambda op: tf.nn.relu6,
    "Reshape": lambda op: lambda x: layers.Reshape(tuple(op.newshape[1:]))(x),
    "Sigmoid": lambda op: tf.nn.sigmoid,
    "Silu": lambda op: tf.nn.silu,
    "Softmax": lambda op: lambda x: tf.nn.softmax(x, op.axis),
    "Sqrt": lambda op: tf.sqrt,
    "Square": lambda op: tf.square,
    "Squeeze": lambda op: lambda x: tf.squeeze(x, _axes(op)),
    "Subtract": lambda op: tf.subtract,
    "Sum": lambda op: lambda x: tf.reduce_sum(x, _axes(op), op.keepdims),
    "Tanh": lambda op: tf.tanh,
    "TrueDivide": lambda op: tf.divide,
}
"""Operators of Keras 3 by class, as functions of the same arguments."""


def operator(op: Any) -> Operator:
    """The function that an operator computes.

    Raises:
      UnsupportedLayerError: It has no counterpart.
    """
    kind = type(op).__name__
    if kind not in OPERATORS:
        raise UnsupportedLayerError(
            f"{op.name!r} is the Keras 3 operator {kind}, which has no counterpart in tf_keras. "
            f"Operators that have one: {', '.join(sorted(OPERATORS))}. Keep others outside the "
            "model."
        )
    return OPERATORS[kind](op)


def layer_and_function(layer: Any) -> tuple[keras.layers.Layer, keras.layers.Layer | None]:
    """The counterpart of a layer, without weights, and the layer of its activation or None.

    Raises:
      UnsupportedLayerError: It has none.
    """
    kind = _class(layer)
    try:
        config = dict(layer.get_config())
    except NotImplementedError:  # of a class of somebody's own: without options then
        config = {"name": layer.name}
    if config.get("data_format") == "channels_first":
        raise UnsupportedLayerError(
            f"The Keras 3 layer {layer.name!r} has data_format='channels_first'; integer kernels "
            "know 'channels_last' only."
        )
    function = None
    if make := SPLIT_ACTIVATIONS.get(str(_name_of(config.get("activation")))):
        if kind is layers.Activation:
            return make(layer.name), None
        config["activation"] = None
        function = make(f"{layer.name}.activation")
    renamed = RENAMED_OPTIONS.get(kind.__name__, {})
    config = {renamed.get(key, key): value for key, value in config.items()}
    known = _options(kind)
    config = {
        key: _plain(value)
        for key, value in config.items()
        if key in known and not key.endswith("_initializer")
    }
    if kind is layers.Normalization:  # it is not to be adapted again
        config |= {"mean": _array(layer.mean), "variance": _array(layer.variance)}
    if "dtype" in config:
        config["dtype"] = layer.compute_dtype
    try:
        return kind.from_config(config), function
    except (TypeError, ValueError) as error:
        raise UnsupportedLayerError(
            f"The Keras 3 layer {layer.name!r} ({kind.__name__}) has options that tf_keras does "
            f"not take: {error}"
        ) from error


def _class(layer: Any) -> type[keras.layers.Layer]:
    """The class of the same name, among the layers or at the same place of the package."""
    name, module = type(layer).__name__, type(layer).__module__
    kind = getattr(layers, name, None)
    if kind is None and module.startswith("keras.src.applications."):
        kind = getattr(importlib.import_module(f"tf_{module}"), name, None)
    if kind is None:
        raise UnsupportedLayerError(
            f"The Keras 3 layer {layer.name!r} is a {name}, which tf_keras does not have. Replace "
            "it by layers that tf_keras.layers has, too, or keep it outside the model."
        )
    return kind


def _options(kind: type[keras.layers.Layer]) -> set[str]:
    """Names of everything that the constructor of a layer takes."""
    names = {"name", "trainable", "dtype"}
    for base in kind.__mro__:
        names.update(inspect.signature(vars(base).get("__init__", object.__init__)).parameters)
    return names - {"self", "args", "kwargs"}


def _name_of(activation: Any) -> str | None:
    """Name of an activation in a configuration."""
    if isinstance(activation, Mapping):
        activation = activation.get("config", activation.get("class_name"))
    return activation if isinstance(activation, str) else None


def _plain(value: Any) -> Any:
    """A part of a configuration as `tf_keras` writes it."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "DTypePolicy":
            return value["config"]["name"]
        if value.get("class_name") == "function":
            return value["config"]
        if "class_name" in value:
            return {"class_name": value["class_name"], "config": _plain(value["config"])}
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _array(value: Any) -> Any:
    import keras as keras3

    return keras3.ops.convert_to_numpy(value)
