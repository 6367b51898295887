"""TFMOT quantize scheme that keeps every given configuration as it is.

TFMOT's default scheme replaces a custom configuration on a convolution followed by a separate
ReLU by one that does nothing; here no layer is transformed at all.
"""

import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.quantization.keras import (
    quantize_layout_transform,
    quantize_registry,
    quantize_scheme,
)

from quantize_configs.activations import HardSigmoid, HardSwish, PointwiseFunction
from quantize_configs.depth_to_space import DepthToSpace
from quantize_configs.layer_configs import LayerQuantizeConfig
from quantize_configs.layer_roles import Role, role_of
from quantize_configs.layers.registry import LAYERS
from quantize_configs.lsq_quantizer import LSQQuantizer
from quantize_configs.quantized_model import LayerWrapper, QuantizedModel
from quantize_configs.quantizer_registry import QUANTIZERS
from quantize_configs.slicing import Slice


class KeepLayout(quantize_layout_transform.QuantizeLayoutTransform):
    """Leaves the model and its configurations untouched."""

    def apply(self, model, layer_quantize_map):
        """Returns both arguments."""
        return model, layer_quantize_map


class BitWidthRegistry(quantize_registry.QuantizeRegistry):
    """Configurations for layers annotated without one: 8-bit LSQ weights, outputs left alone."""

    def supports(self, layer) -> bool:
        """Whether the layer's class is known."""
        return type(layer) in LAYERS

    def get_quantize_config(self, layer):
        """Default configuration of a layer; raises UnsupportedLayerError for unknown classes."""
        linear = role_of(layer) is Role.LINEAR
        return LayerQuantizeConfig(weight_quantizer=LSQQuantizer(8) if linear else None)


class BitWidthScheme(quantize_scheme.QuantizeScheme):
    """The scheme for `tfmot.quantization.keras.quantize_apply`."""

    def get_layout_transformer(self):
        """A transform that changes nothing."""
        return KeepLayout()

    def get_quantize_registry(self):
        """The registry of supported layers."""
        return BitWidthRegistry()


def quantize_scope():
    """TFMOT's `quantize_scope` with this package's classes, needed to rebuild quantized models."""
    kinds: tuple[type, ...] = (
        LayerQuantizeConfig,
        LayerWrapper,
        QuantizedModel,
        *QUANTIZERS.values(),
        HardSigmoid,
        HardSwish,
        PointwiseFunction,
        DepthToSpace,
        Slice,
    )
    return tfmot.quantization.keras.quantize_scope({kind.__name__: kind for kind in kinds})
