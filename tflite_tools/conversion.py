"""Converting a quantized Keras model to LiteRT."""

from typing import TYPE_CHECKING, Any

from tflite_tools.emitter import emit
from tflite_tools.lowering import ConversionOptions, lower

if TYPE_CHECKING:
    from quantize_configs.keras_backend import keras

OPTIONS_KEY = "conversion"


def convert(
    model: "keras.Model",
    *,
    weight_container: str = "auto",
    input_type: str = "float32",
    output_type: str = "float32",
    pixel_range: tuple[float, float] | None = None,
    metadata: dict[str, Any] | None = None,
) -> bytes:
    """Converts a calibrated quantized model to a LiteRT flatbuffer.

    Scales, zero points and integer codes are written as they are; nothing is derived anew.

    Args:
      model: Made by `quantize_configs.quantize` (trained and calibrated) or by
        `QFASupernet.extract`.
      weight_container: "auto" or "packed" pack 4- and 2-bit weights of 1x1 convolutions and dense
        layers, which then become FULLY_CONNECTED operators; "int8" gives every weight a byte.
      input_type: "float32", as the Keras model takes it; "uint8", the bytes of an image, as phones
        have them; or "int8" (bytes minus 128 for an image, otherwise codes).
      output_type: "float32" or "int8".
      pixel_range: What the bytes 0 and 255 stand for, for example (0.0, 1.0); not needed for a
        model that begins with a Rescaling layer, which takes bytes.
      metadata: Anything JSON can hold, stored in the file.

    Returns:
      The bytes of the .tflite file.

    Raises:
      UnsupportedLayerError, UnsupportedCombinationError: Something has no exact counterpart.
      UncalibratedError: An activation quantizer has no range.
    """
    options = ConversionOptions(weight_container, input_type, output_type, pixel_range)
    return emit(graph_of(model, options, metadata))


def graph_of(model, options: ConversionOptions, metadata: dict[str, Any] | None = None):
    """The integer graph that `convert` writes, with its metadata."""
    graph = lower(model, options)
    graph.metadata = {**(metadata or {}), OPTIONS_KEY: vars(options)}
    return graph
