"""TFMOT quantize configurations: which quantizer applies to which part of a layer."""

import tensorflow_model_optimization as tfmot

from quantize_configs.layer_roles import WEIGHT_ATTRIBUTES, UnsupportedLayerError
from quantize_configs.quantizer_registry import deserialized, serialized


class LayerQuantizeConfig(tfmot.quantization.keras.QuantizeConfig):
    """Quantizes the weight of a layer, its output, both or neither.

    Args:
      weight_quantizer: For the kernel of a Conv2D, DepthwiseConv2D or Dense; None leaves it.
      output_quantizer: For the output of the layer; None leaves it.
      float_bits: Of the weight of a layer that is exported in float: 32, or 16 when it is stored
        as float16. None for any other layer.
    """

    def __init__(self, weight_quantizer=None, output_quantizer=None, float_bits=None):
        self.weight_quantizer = weight_quantizer
        self.output_quantizer = output_quantizer
        self.float_bits = float_bits

    def get_weights_and_quantizers(self, layer):
        """[(kernel, quantizer)] or []."""
        if self.weight_quantizer is None:
            return []
        return [(getattr(layer, _weight_attribute(layer)), self.weight_quantizer)]

    def get_activations_and_quantizers(self, layer):
        """Always []: activations are quantized where they are read, not inside the layer."""
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        """Puts the quantized kernel in place for one call."""
        for weight in quantize_weights:
            setattr(layer, _weight_attribute(layer), weight)

    def set_quantize_activations(self, layer, quantize_activations):
        """Nothing to set."""
        pass  # AutoGraph drops the docstring and needs a statement

    def get_output_quantizers(self, layer):
        """[output quantizer] or []."""
        return [] if self.output_quantizer is None else [self.output_quantizer]

    def get_config(self):
        """Class names and constructor arguments of the quantizers, and the bits of floats."""
        quantizers = {
            role: serialized(quantizer)
            for role, quantizer in vars(self).items()
            if role != "float_bits"
        }
        return {**quantizers, "float_bits": self.float_bits}

    @classmethod
    def from_config(cls, config):
        """Rebuilds the configuration from `get_config`."""
        quantizers = {
            role: deserialized(entry if isinstance(entry, dict) else None)
            for role, entry in config.items()
            if role != "float_bits"
        }
        return cls(**quantizers, float_bits=config.get("float_bits"))

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # what is compared by value and can change


def _weight_attribute(layer) -> str:
    try:
        return WEIGHT_ATTRIBUTES[type(layer)]
    except KeyError:
        raise UnsupportedLayerError(
            f"Layer {layer.name!r} is a {type(layer).__name__} and has no weight to quantize. "
            f"Layers with one: {', '.join(kind.__name__ for kind in WEIGHT_ATTRIBUTES)}."
        ) from None
