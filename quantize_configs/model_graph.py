"""A functional Keras model as a list of layer calls, wrapped by TFMOT or not."""

import dataclasses

import numpy as np
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapper,
)

from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.layer_roles import (
    Role,
    UnsupportedLayerError,
    activation_of,
    function_of,
    role_of,
)


@dataclasses.dataclass(frozen=True)
class LayerCall:
    """One call of a layer; its output tensor goes by the layer's name.

    Attributes:
      owner: The layer of the model, a TFMOT wrapper in a quantized model.
      inputs: Names of the tensors it reads, in order.
      node: The Keras node, which knows how the arguments were nested.
    """

    owner: keras.layers.Layer
    inputs: tuple[str, ...]
    node: object

    @property
    def layer(self) -> keras.layers.Layer:
        """The layer itself, without a wrapper."""
        return self.owner.layer if isinstance(self.owner, QuantizeWrapper) else self.owner

    @property
    def name(self) -> str:
        """Name of the layer, and of the tensor it makes."""
        return self.layer.name

    @property
    def role(self) -> Role:
        """What the layer does to grids."""
        return role_of(self.layer)


class ModelGraph:
    """The calls of a functional model in topological order.

    Args:
      model: Functional or sequential `tf_keras` model of supported layers.

    Raises:
      TypeError, ValueError: `model` is no built functional `tf_keras` model.
      UnsupportedLayerError: A layer is unknown, nested, shared, or used where it cannot be
        fused.
    """

    def __init__(self, model: keras.Model):
        require_functional(model)
        self.calls = tuple(_calls(model))
        self.by_name = {call.name: call for call in self.calls}
        self.outputs = tuple(_producer(tensor) for tensor in model.outputs)
        self._readers = {call.name: [] for call in self.calls}
        for call in self.calls:
            for name in call.inputs:
                self._readers[name].append(call)
        for call in self.calls:
            self._check_fusion(call)

    def readers(self, name: str) -> list[LayerCall]:
        """Calls that read a tensor."""
        return self._readers[name]

    def sole_reader(self, name: str) -> LayerCall | None:
        """The only call that reads a tensor, None when there are more or it is an output."""
        readers = self._readers[name]
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def is_fused_away(self, name: str) -> bool:
        """Whether a tensor exists only inside a fused operation."""
        reader = self.sole_reader(name)
        return reader is not None and reader.role in (Role.NORMALIZATION, Role.ACTIVATION)

    def final_reader(self, name: str) -> LayerCall | None:
        """The sole reader of a tensor, behind sole readers that only pass its grid on."""
        reader = self.sole_reader(name)
        while reader is not None and reader.role is Role.PASSING:
            reader = self.sole_reader(reader.name)
        return reader

    def _check_function(self, call: LayerCall) -> None:
        """Where a softmax and a rescaling may stand."""
        function = function_of(call.layer)
        if function == "softmax":
            axis = getattr(call.layer, "axis", -1)
            fits = axis in (-1, len(call.owner.input_shape) - 1)
            if not fits or call.name not in self.outputs or self.readers(call.name):
                raise UnsupportedLayerError(
                    f"The softmax {call.name!r} must be an output of the model that nothing else "
                    f"reads, over the last axis. Received: axis {axis}, "
                    f"{len(self.readers(call.name))} readers."
                )
        if function == "rescaling":
            (source,) = call.inputs
            if self.by_name[source].role is not Role.INPUT or self.sole_reader(source) is not call:
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

    def _check_fusion(self, call: LayerCall) -> None:
        if call.role is Role.POINTWISE:
            self._check_function(call)
        if call.role in (Role.LINEAR, Role.ACTIVATION):
            activation = activation_of(call.layer)
        if call.role is Role.NORMALIZATION:
            producers, needs = (
                (Role.LINEAR,),
                "a Conv2D, DepthwiseConv2D or Dense without activation",
            )
        elif call.role is Role.ACTIVATION and activation != "linear":
            producers = (Role.LINEAR, Role.NORMALIZATION, Role.ARITHMETIC)
            needs = "a convolution, dense layer, batch normalization, Add, Multiply or pooling"
            if activation == "hard_sigmoid":
                producers = (Role.LINEAR, Role.NORMALIZATION)
                needs = "a convolution, dense layer or batch normalization"
        else:
            return
        if call.role is Role.NORMALIZATION:
            _check_axis(call)
        (source,) = call.inputs
        producer = self.by_name[source]
        fits = producer.role in producers and self.sole_reader(source) is call
        fits = fits and not isinstance(producer.layer, keras.layers.Concatenate)
        if fits and producer.role is Role.LINEAR:
            fits = activation_of(producer.layer) == "linear"
        if not fits:
            raise UnsupportedLayerError(
                f"Layer {call.name!r} ({type(call.layer).__name__}) must directly follow {needs} "
                f"that nothing else reads. It follows {source!r} "
                f"({type(producer.layer).__name__}), read by {len(self.readers(source))} layers."
            )


def _check_axis(call: LayerCall) -> None:
    layer, rank = call.layer, len(call.owner.input_shape)
    if list(layer.axis) != [rank - 1]:
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} normalizes axis {list(layer.axis)}; only the last one, the "
            "channels, folds into the layer before. Use axis=-1."
        )


def _producer(tensor) -> str:
    layer = tensor._keras_history.layer
    return layer.layer.name if isinstance(layer, QuantizeWrapper) else layer.name


def _calls(model):
    seen = set()
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            layer = node.layer
            if isinstance(layer, keras.Model):
                raise UnsupportedLayerError(
                    f"{layer.name!r} is a model inside the model {model.name!r}. Call its layers "
                    "one by one instead of the whole."
                )
            if layer.name in seen:
                raise UnsupportedLayerError(
                    f"Layer {layer.name!r} is called more than once, so its grids would have to "
                    "serve several tensors. Make one layer for each call."
                )
            seen.add(layer.name)
            inputs = () if node.is_input else tuple(map(_producer, node.keras_inputs))
            call = LayerCall(layer, inputs, node)
            call.role  # noqa: B018 - raises for an unknown layer
            yield call
