"""From a quantized Keras model to the integer graph."""

from tflite_tools.lowering.model import lower
from tflite_tools.lowering.options import ConversionOptions

__all__ = ["ConversionOptions", "lower"]
