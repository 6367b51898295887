"""Quantizing a whole functional Keras model through TFMOT."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapper,
)

from quantize_configs.added_names import GIVEN, NARROWED, READ, refuse_taken_names
from quantize_configs.arguments import instance
from quantize_configs.batch_quantizer import BatchQuantizer
from quantize_configs.bias_corrections import mark_untrained
from quantize_configs.bit_policy import BitPolicy
from quantize_configs.bit_widths import WIDE_BITS, is_float_pair
from quantize_configs.compute_types import float32_policy, in_float32
from quantize_configs.elastic_quantizer import ElasticQuantizer
from quantize_configs.errors import InvalidInputError, StateError
from quantize_configs.gain_signs import gain_signs, turn_over
from quantize_configs.grid_placement import TENSOR_BITS, GridPlacement
from quantize_configs.keras3_bridge import as_tf_keras
from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.layer_configs import LayerQuantizeConfig
from quantize_configs.layer_roles import (
    MERGING_LAYERS,
    WEIGHT_CHANNEL_AXES,
    Role,
    UnsupportedLayerError,
)
from quantize_configs.lsq_quantizer import LSQQuantizer
from quantize_configs.model_graph import ModelGraph
from quantize_configs.quantized_model import LayerWrapper, QuantizedModel
from quantize_configs.rewriting import as_quantizable, copied
from quantize_configs.support_check import require_sizes

NAME_PREFIX = "quant_"
WEIGHT_STEPS = ("per_channel", "per_tensor")


@float32_policy()
def quantize(
    model: keras.Model,
    policy: BitPolicy,
    *,
    zero_point: str = "integer",
    estimator: str = "least_error",
    weight_steps: str = "per_channel",
    weight_start: str = "least_error",
    tensor_quantizers: bool = True,
    float_layers: Collection[str] = (),
    input_quantizers: Mapping[str, ElasticQuantizer] = MappingProxyType({}),
    take_layers: bool = False,
) -> keras.Model:
    """Makes a trainable quantized copy of a functional model.

    In front of every convolution and dense layer, an identity layer named `<layer>.input` holds
    a `BatchQuantizer` for what the layer reads; its weight gets an `LSQQuantizer`. Tensors that
    are read by anything else than one such layer (residual sums, pooling inputs, the outputs of
    the model) get 8-bit quantizers of their own (16-bit ones where a 16-bit layer makes them; what
    no kernel reads with 16 bits is read through an identity layer `<layer>.narrowed`). Layers in
    float get no quantizers, see `BitPolicy`. Hard-sigmoid and hard-swish that are written with
    operators are recognised; an activation of a layer that no device fuses ("sigmoid", "swish",
    "softmax") becomes a layer `<layer>.function`.

    The result is an ordinary Keras model: `compile` and `fit` it, then `calibrate` it, then
    evaluate or convert it.

    Args:
      model: Built functional or sequential model of `tf_keras` or Keras 3 (see `as_tf_keras`); it
        is not modified, but see `take_layers`. Layers that compute in 16 bits (`mixed_float16`)
        compute in float32 in the result.
      policy: Bits per layer.
      zero_point: "integer" or "fractional", see `BatchQuantizer`. Only integer ones can be
        converted.
      estimator: Range estimator, see `estimate_range`. The default suits trained models,
        "channel_mean" is BatchQuant's.
      weight_steps: "per_channel" (of the output) or "per_tensor"; the device has scales per channel
        in any case.
      weight_start: First steps: "least_error" (squared, of the weights), "largest" or "lsq" (LSQ's
        formula, for training with few bits), see `LSQQuantizer`.
      tensor_quantizers: Whether to add the 8-bit quantizers. Without them the model cannot be
        converted.
      float_layers: Convolutions and dense layers that get no quantizers in a model that is not to
        be converted, with `tensor_quantizers=False`. For conversion, give them 32 bits in `policy`.
      input_quantizers: By layer, what quantizes its input in place of a `BatchQuantizer`, with the
        bits of `policy`.
      take_layers: Whether the result has the layers of `model` themselves, not copies of them,
        which takes less time. `model` must not be used any more then.

    Returns:
      A model of TFMOT wrappers with the weights of `model`.

    Raises:
      TypeError, ValueError: `model` or `policy` does not fit.
      UnsupportedLayerError: A layer has no quantized counterpart.
    """
    instance("policy", policy, BitPolicy, "BitPolicy((8, 8))")
    model = as_tf_keras(model)
    _check_float(model)
    model = as_quantizable(in_float32(model))
    if tensor_quantizers:
        require_sizes(model)
    graph = ModelGraph(model)
    refuse_taken_names(graph)
    linear = [call.name for call in graph.calls if call.role is Role.LINEAR]
    policy.check_names(linear)
    _check_float_layers(float_layers, linear, policy, tensor_quantizers)
    if not linear:
        raise UnsupportedLayerError(
            f"The model {model.name!r} has no Conv2D, DepthwiseConv2D or Dense layer to quantize."
        )
    if weight_steps not in WEIGHT_STEPS:
        raise InvalidInputError(
            f"weight_steps must be one of {WEIGHT_STEPS}. Received: {weight_steps!r}."
        )

    def weight_quantizer(layer, bits):
        axes = WEIGHT_CHANNEL_AXES[type(layer)] if weight_steps == "per_channel" else ()
        return LSQQuantizer(bits, channel_axes=axes, start_rule=weight_start)

    # Nothing in these layers needs AutoGraph, which takes most of the time.
    rebuild = tf.autograph.experimental.do_not_convert(_wrap_layers)
    quantized = rebuild(
        model,
        graph,
        policy,
        weight_quantizer,
        lambda name, bits: (
            input_quantizers.get(name)
            or BatchQuantizer(bits, zero_point=zero_point, estimator=estimator)
        ),
        tensor_quantizers,
        frozenset(float_layers),
        take_layers,
    )
    mark_untrained(quantized)
    return quantized


def fixed_quantizer(bits: int) -> BatchQuantizer:
    """The quantizer of a tensor that no bit-width was chosen for: 8 bits, or 16 and symmetric."""
    return BatchQuantizer(bits, estimator="min_max", learned=False, signed=bits == WIDE_BITS)


def check_wrappers(model: keras.Model) -> None:
    """Raises RuntimeError when a linear layer of a quantized model lost its weight quantizer."""
    for call in ModelGraph(model).calls:
        config = getattr(call.owner, "quantize_config", None)
        if getattr(config, "float_bits", None) is not None:
            continue
        if call.role is Role.LINEAR and getattr(config, "weight_quantizer", None) is None:
            raise StateError(
                f"Layer {call.name!r} came out of TFMOT without a weight quantizer (its config is "
                f"{type(config).__name__}). Pass quantize_configs.BitWidthScheme() to "
                "quantize_apply."
            )


def _check_float(model):
    """Refuses models that are quantized already."""
    require_functional(model)
    if wrapped := [layer.name for layer in model.layers if isinstance(layer, QuantizeWrapper)]:
        raise InvalidInputError(
            f"The model {model.name!r} is quantized already (its layer {wrapped[0]!r} and "
            f"{len(wrapped) - 1} others). Quantize the float model it was made from, with another "
            "bit policy."
        )


def _check_float_layers(float_layers, linear, policy, tensor_quantizers):
    """Raises ValueError unless all of them are linear layers that may stay in float."""
    if not float_layers:
        return
    if tensor_quantizers:
        raise InvalidInputError(
            "float_layers need tensor_quantizers=False: a model with such layers cannot be "
            "converted; give layers in float the bits (32, 32) in the bit policy instead. "
            f"Received: {sorted(float_layers)}."
        )
    if unknown := sorted(set(float_layers) - set(linear)):
        raise InvalidInputError(
            f"float_layers names {unknown}, which are no convolution or dense layers of the model. "
            f"Those of the model: {linear}."
        )
    if both := sorted(set(float_layers) & set(policy.layers)):
        raise InvalidInputError(
            f"float_layers and the bit policy both name {both}. Choose one of them."
        )


def _wrap_layers(
    model,
    graph,
    policy,
    make_weight_quantizer,
    input_quantizer,
    tensor_quantizers,
    float_layers,
    take_layers,
):
    """Rebuilds `model` with wrapped layers and the identity layers that hold quantizers.

    The result is that of annotating all layers and `quantize_apply` with `BitWidthScheme`, which
    transforms nothing but copies the model three times.
    """
    tensors: dict[str, Any] = {}
    signs = {} if take_layers else gain_signs(graph)
    pairs = {call.name: policy.of(call.name) for call in graph.calls if call.role is Role.LINEAR}
    placement = GridPlacement(graph, pairs)

    def tensor_quantizer(name):
        bits = placement.bits(name) if tensor_quantizers else None
        return None if bits is None else fixed_quantizer(bits)

    def identity(name, quantizer, tensor):
        layer = keras.layers.Activation("linear", name=name)
        return _wrapped(layer, LayerQuantizeConfig(output_quantizer=quantizer), tensor)

    def argument(reader, name):
        """The tensor as a layer reads it."""
        if not tensor_quantizers or not placement.reads_narrowed(reader, name):
            return tensors[name]
        narrowed = f"{name}.{NARROWED}"
        if narrowed not in tensors:
            tensors[narrowed] = identity(narrowed, fixed_quantizer(TENSOR_BITS), tensors[name])
        return tensors[narrowed]

    inputs = {}
    for call in graph.calls:
        if call.role is Role.INPUT:
            layer = call.layer
            tensor = keras.Input(layer.input_shape[0][1:], name=layer.name, dtype=layer.dtype)
            tensors[call.name] = source = tensor
            if quantizer := tensor_quantizer(call.name):
                tensors[call.name] = identity(f"{call.name}.{GIVEN}", quantizer, tensor)
            inputs[call.name] = source
            continue
        weight_quantizer = float_bits = None
        arguments = [argument(call, name) for name in call.inputs]
        pair = pairs.get(call.name)
        if pair is not None and is_float_pair(pair):
            float_bits = pair[0]
        elif pair is not None and call.name not in float_layers:
            weight_quantizer = make_weight_quantizer(call.layer, pair[0])
            wide = pair[1] == WIDE_BITS
            quantizer = fixed_quantizer(WIDE_BITS) if wide else input_quantizer(call.name, pair[1])
            arguments = [identity(f"{call.name}.{READ}", quantizer, arguments[0])]
        config = LayerQuantizeConfig(weight_quantizer, tensor_quantizer(call.name), float_bits)
        arguments = arguments if isinstance(call.layer, MERGING_LAYERS) else arguments[0]
        layer = call.layer if take_layers else copied(call.layer, call.layer.input_shape)
        if call.name in signs:
            turn_over(layer, call, signs[call.name])
        tensors[call.name] = _wrapped(layer, config, arguments)
    sources = [inputs[tensor._keras_history.layer.name] for tensor in model.inputs]
    outputs = [tensors[name] for name in graph.outputs]
    return QuantizedModel(sources, outputs, name=model.name)


def _wrapped(layer, config, argument):
    """What a wrapper of `layer` makes of `argument`.

    Keras calls a new layer once, only to learn the shape of its output. That call skips the
    quantizers, whose operations take most of the time.
    """
    wrapper = LayerWrapper(layer, config, name_prefix=NAME_PREFIX)
    with tf.name_scope(wrapper.name):
        wrapper.build(tf.nest.map_structure(lambda tensor: tensor.shape, argument))
    with wrapper.without_quantizers():
        return wrapper(argument)
