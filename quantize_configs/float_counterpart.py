"""The float model that a quantized one stands for: the same weights without quantizers."""

from typing import Any

import tensorflow as tf
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapper,
)

from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import MERGING_LAYERS, WEIGHT_ATTRIBUTES, Role
from quantize_configs.model_graph import LayerCall
from quantize_configs.wrappers import WrappedModel


def float_counterpart(model: keras.Model) -> keras.Model:
    """What a quantized model would compute without any quantizer.

    What it differs by from the quantized model is what its bits cost at the weights that it has. A
    model that was not trained after `quantize` is compared better with the one that was given to
    `quantize`, because biases are corrected since.

    Args:
      model: Result of `quantize`, or of `QFASupernet.extract`, prepared for deployment or not; it
        is not modified.

    Returns:
      A functional model; its layers go by the names of the layers before `quantize`.
    """
    wrapped = WrappedModel(model)
    tensors: dict[str, Any] = {}
    inputs = {}
    for call in wrapped.graph.calls:
        if call.role is Role.INPUT:
            layer = call.layer
            tensor = keras.Input(layer.input_shape[0][1:], name=layer.name, dtype=layer.dtype)
            tensors[call.name] = inputs[call.name] = tensor
            continue
        arguments = [tensors[name] for name in call.inputs]
        layer = _without_quantizers(wrapped, call)
        tensors[call.name] = layer(
            arguments if isinstance(call.layer, MERGING_LAYERS) else arguments[0]
        )
    sources = [inputs[name] for name in wrapped.graph.inputs]
    outputs = [tensors[name] for name in wrapped.graph.outputs]
    return keras.Model(
        sources if len(sources) > 1 else sources[0],
        outputs if len(outputs) > 1 else outputs[0],
        name=model.name,
    )


def _without_quantizers(wrapped: WrappedModel, call: LayerCall) -> keras.layers.Layer:
    """A copy of the layer alone, with its weights."""
    layer = type(call.layer).from_config(call.layer.get_config())
    shape = call.node.input_shapes
    with tf.name_scope(layer.name):
        layer.build(shape)
    is_quantized = isinstance(call.owner, QuantizeWrapper) and wrapped.is_quantized(call.name)
    kernel = WEIGHT_ATTRIBUTES[type(layer)] if is_quantized else None
    for name, variable in _variables(layer).items():
        source = wrapped.weight(call.name) if name == kernel else getattr(call.layer, name)
        variable.assign(source)
    return layer


def _variables(layer: keras.layers.Layer) -> dict[str, tf.Variable]:
    """The weights of a layer by the attributes that hold them."""
    held = {id(weight): weight for weight in layer.weights}
    found = {
        name: held[id(value)]
        for name, value in vars(layer).items()
        if isinstance(value, tf.Variable) and id(value) in held
    }
    assert len(found) == len(held), layer.name  # a layer of the registry keeps them so
    return found
