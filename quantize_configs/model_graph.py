"""A functional Keras model as a list of layer calls, wrapped by TFMOT or not."""

from collections.abc import Collection

from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapper,
)

from quantize_configs.keras_backend import keras, require_functional
from quantize_configs.layer_roles import activation_of, kind_of
from quantize_configs.layers.kinds import (
    LayerCall,
    Refuse,
    Role,
    UnsupportedLayerError,
    raise_refusal,
)

__all__ = ["LayerCall", "ModelGraph"]


class ModelGraph:
    """The calls of a functional model in topological order.

    Args:
      model: Functional or sequential `tf_keras` model of supported layers.
      refuse: Takes note of layers that cannot stand where they do; by default the first one is
        raised.

    Raises:
      TypeError, ValueError: `model` is no built functional `tf_keras` model.
      UnsupportedLayerError: A layer is unknown, nested, shared, or used where it cannot be
        fused.
    """

    def __init__(self, model: keras.Model, refuse: Refuse = raise_refusal):
        require_functional(model)
        self.calls = tuple(_calls(model))
        self.by_name = {call.name: call for call in self.calls}
        self.inputs = tuple(_producer(tensor) for tensor in model.inputs)
        self.outputs = tuple(_producer(tensor) for tensor in model.outputs)
        self._readers: dict[str, list[LayerCall]] = {call.name: [] for call in self.calls}
        for call in self.calls:
            for name in call.inputs:
                self._readers[name].append(call)
        for call in self.calls:
            try:
                self._check(call)
            except UnsupportedLayerError as error:
                refuse(call.name, error)

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

    def require_fusion(self, call: LayerCall, producers: Collection[Role], needs: str) -> None:
        """Refuses a call that cannot be fused into the operation it reads.

        Args:
          call: Of a normalization or an activation.
          producers: What it may directly follow.
          needs: The same in words.

        Raises:
          UnsupportedLayerError: It follows something else, or something else reads the tensor too.
        """
        (source,) = call.inputs
        producer = self.by_name[source]
        fits = producer.role in producers and self.sole_reader(source) is call
        fits = fits and not producer.kind.shares_grid
        if fits and producer.role is Role.LINEAR:
            fits = activation_of(producer.layer) == "linear"
        if not fits:
            raise UnsupportedLayerError(
                f"Layer {call.name!r} ({type(call.layer).__name__}) must directly follow {needs} "
                f"that nothing else reads. It follows {source!r} "
                f"({type(producer.layer).__name__}), read by {len(self.readers(source))} layers."
            )

    def _check(self, call: LayerCall) -> None:
        if call.role is Role.LINEAR:
            activation_of(call.layer)
        if check := call.kind.check:
            check(self, call)


def _unwrapped(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layer.layer if isinstance(layer, QuantizeWrapper) else layer


def _producer(tensor) -> str:
    return _unwrapped(tensor._keras_history.layer).name


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
            yield LayerCall(layer, inputs, node, kind_of(_unwrapped(layer)))
