"""Finding the parts of a quantized model by the names of the original layers."""

import numpy as np
import tensorflow as tf

from quantize_configs.elastic_quantizer import ElasticQuantizer
from quantize_configs.errors import InvalidInputError, StateError
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import WEIGHT_ATTRIBUTES
from quantize_configs.model_graph import ModelGraph
from quantize_configs.weight_steps import largest_steps


class WrappedModel:
    """A model that `quantize` made, addressed by layer names without TFMOT's prefix.

    Args:
      model: Quantized model.
      frozen: Whether ranges and learned values stay as they are while this object is used, so that
        a grid is computed once.
    """

    def __init__(self, model: keras.Model, frozen: bool = False):
        self.graph = ModelGraph(model)
        self._grids: dict[str, tuple[float, int, int]] | None = {} if frozen else None

    def wrapper(self, name: str):
        """The TFMOT wrapper of a layer."""
        return self.graph.by_name[name].owner

    def weight(self, name: str) -> tf.Variable:
        """The float weight that a linear layer is trained with."""
        return self._weight_entry(name)[0]

    def is_quantized(self, name: str) -> bool:
        """Whether the weight of a linear layer is quantized."""
        return bool(getattr(self.wrapper(name), "_weight_vars", ()))

    def float_bits(self, name: str) -> int | None:
        """Bits of the weight of a linear layer in float, 32 or 16; None when it is quantized."""
        return getattr(getattr(self.wrapper(name), "quantize_config", None), "float_bits", None)

    def kernel(self, name: str) -> tf.Variable:
        """The weight of a linear layer in float."""
        layer = self.wrapper(name).layer
        return getattr(layer, WEIGHT_ATTRIBUTES[type(layer)])

    def weight_quantizer(self, name: str):
        """The quantizer of a linear layer's weight."""
        return self._weight_entry(name)[1]

    def weight_variables(self, name: str) -> dict[str, tf.Variable]:
        """The variables of a linear layer's weight quantizer."""
        return self._weight_entry(name)[2]

    def fit_step(self, name: str) -> None:
        """Sets the steps of a linear layer so that its grid just covers the weight."""
        weight, quantizer, variables = self._weight_entry(name)
        (bits,) = quantizer.bit_widths.choices
        steps = largest_steps(weight.numpy(), quantizer, bits)
        steps = np.maximum(steps, np.finfo(np.float32).eps)
        variables["step"].assign(np.broadcast_to(steps, variables["step"].shape))

    def output_quantizer(self, name: str) -> ElasticQuantizer | None:
        """The quantizer of a layer's output, None when it has none."""
        return getattr(
            getattr(self.wrapper(name), "quantize_config", None), "output_quantizer", None
        )

    def output_variables(self, name: str) -> dict[str, tf.Variable]:
        """The variables of the quantizer of a layer's output."""
        return self.wrapper(name)._output_quantizer_vars

    def quantized_outputs(self) -> list[str]:
        """Names of the layers whose output is quantized."""
        return [call.name for call in self.graph.calls if self.output_quantizer(call.name)]

    def activation_grid(self, name: str) -> tuple[float, int, int]:
        """Frozen grid of a layer's output: (step, zero point, bits), unsigned codes.

        Raises:
          UncalibratedError: No range is stored.
          InvalidInputError: There is no quantizer, or its zero point is fractional.
        """
        if self._grids is None:
            return self._computed_grid(name)
        if name not in self._grids:
            self._grids[name] = self._computed_grid(name)
        return self._grids[name]

    def _computed_grid(self, name):
        quantizer = self.output_quantizer(name)
        if quantizer is None:
            raise InvalidInputError(
                f"The output of layer {name!r} is not quantized. Make the model with "
                "quantize_configs.quantize, or annotate the layer with "
                "LayerQuantizeConfig(output_quantizer=...)."
            )
        variables = self.output_variables(name)
        if float(variables["samples"]) <= 0:
            raise UncalibratedError(
                f"The quantizer of {name!r} has no range yet. Run quantize_configs.calibrate"
                "(model, dataset) on training images first."
            )
        if quantizer.zero_point != "integer":
            raise InvalidInputError(
                f"The quantizer of {name!r} has a fractional zero point, which no integer runtime "
                "computes. Quantize with zero_point='integer'."
            )
        step, zero_point, qmin, _ = quantizer.stored_grid(variables)
        (bits,) = quantizer.bit_widths.choices
        return float(step), int(zero_point) - int(qmin), bits

    def _weight_entry(self, name):
        """(float weight, its quantizer, the variables of the quantizer) of a linear layer."""
        entries = getattr(self.wrapper(name), "_weight_vars", ())
        if not entries:
            raise InvalidInputError(
                f"The weight of layer {name!r} is not quantized. Make the model with "
                "quantize_configs.quantize, or annotate the layer with "
                "LayerQuantizeConfig(weight_quantizer=...)."
            )
        return entries[0]


class UncalibratedError(StateError, ValueError):
    """A quantized model is used before its activation ranges were measured."""
