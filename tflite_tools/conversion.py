"""Converting a quantized Keras model to LiteRT."""

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quantize_configs import weight_containers
from quantize_configs.bit_widths import FLOAT_BITS
from quantize_configs.deployment import mark_prepared, prepared_container, prepared_runtime
from quantize_configs.errors import InvalidInputError
from quantize_configs.kernels.registry import DEFAULT, default_container
from quantize_configs.layer_roles import Role
from quantize_configs.wrappers import WrappedModel
from tflite_tools.flatbuffer.conversion_keys import BITS_KEY, LABELS_KEY, OPTIONS_KEY
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.lowering import ConversionOptions, lower

if TYPE_CHECKING:
    from quantize_configs.keras_backend import keras


def convert(
    model: "keras.Model",
    *,
    weight_container: str | None = None,
    input_type: str = "float32",
    output_type: str = "float32",
    pixel_range: tuple[float, float] | None = None,
    runtime: str | None = None,
    labels: Sequence[str] | None = None,
    metadata: dict[str, Any] | None = None,
) -> bytes:
    """Converts a calibrated quantized model to a LiteRT flatbuffer.

    Scales, zero points and integer codes are written as they are; nothing is derived anew.

    Args:
      model: Made by `quantize_configs.quantize` (trained and calibrated) or by
        `QFASupernet.extract`.
      weight_container: "auto" or "packed" pack 4- and 2-bit weights of 1x1 convolutions and dense
        layers, which then become FULLY_CONNECTED operators; "int8" gives every weight a byte. By
        default the one that the model was prepared for, "auto" when it was not prepared.
      input_type: "float32", as the Keras model takes it; "uint8", the bytes of an image, as phones
        have them; or "int8" (bytes minus 128 for an image, otherwise codes).
      output_type: "float32"; "int8", codes of the last layer; or "uint8", the same plus 128, which
        MediaPipe Tasks takes.
      pixel_range: What the bytes 0 and 255 are at the input of the model, for example (0.0, 1.0);
        not needed for a model that begins with a Rescaling layer and takes bytes.
      runtime: Kernels that the file will run on: "xnnpack" (phones, computers, browsers); "cpu"
        (the same, with the built-in kernels for depthwise filters of more than 25 weights, with
        which XNNPACK is slow; GPUs take such files in parts); "builtin" or "reference" (LiteRT's
        other two sets); "micro" (microcontrollers). From here on the model computes the integers of
        this set, and `verify` compares it with this set. By default the one that the model was
        prepared for, "xnnpack" when it was not prepared.
      labels: Names of the classes, as many as the last axis of the first output has entries.
      metadata: Anything JSON can hold, stored in the file (`tflite_tools.inspect` reads it back).

    Returns:
      The bytes of the .tflite file.

    Raises:
      UnsupportedLayerError, UnsupportedCombinationError: Something has no exact counterpart.
      UncalibratedError: An activation quantizer has no range.
      InvalidInputError: An option is not allowed, or the model was prepared for another container.
    """
    runtime = runtime or prepared_runtime(model) or DEFAULT
    if weight_container is None:
        weight_container = prepared_container(model) or default_container(runtime)
    options = ConversionOptions(weight_container, input_type, output_type, pixel_range, runtime)
    graph = graph_of(model, options, metadata)
    if labels is not None:
        graph.metadata[LABELS_KEY] = _checked_labels(graph, labels)
    return emit(graph)


def graph_of(model, options: ConversionOptions, metadata: dict[str, Any] | None = None):
    """The integer graph that `convert` writes, with its metadata.

    Raises:
      InvalidInputError: The model was prepared for another container of weights.
    """
    prepared = prepared_container(model)
    if prepared is not None and not weight_containers.is_same(prepared, options.weight_container):
        raise InvalidInputError(
            f"The biases of {model.name!r} were rounded for weight_container={prepared!r}; "
            f"{options.weight_container!r} would round them again, to other values. Convert with "
            f"{prepared!r}, or prepare the model for {options.weight_container!r}: "
            "prepare_for_deployment(model, weight_container), or the same argument of "
            "QFASupernet.extract."
        )
    if prepared is not None and prepared_runtime(model) != options.runtime:
        mark_prepared(model, prepared, options.runtime)  # ranges and biases fit every kernel set
    wrapped = WrappedModel(model, frozen=True)
    graph = lower(wrapped, options)
    bits = {}
    for call in wrapped.graph.calls:
        if call.role is Role.LINEAR:
            if float_bits := wrapped.float_bits(call.name):
                bits[call.name] = [float_bits, FLOAT_BITS]
                continue
            (weight_bits,) = wrapped.weight_quantizer(call.name).bit_widths.choices
            bits[call.name] = [weight_bits, wrapped.activation_grid(call.inputs[0])[2]]
    graph.metadata = {
        **(metadata or {}),
        **graph.metadata,
        OPTIONS_KEY: dataclasses.asdict(options),
        BITS_KEY: bits,
        "writer": _writer(),
    }
    return graph


def _writer() -> str:
    try:
        return f"qfa_tf {importlib.metadata.version('qfa_tf')}"
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "qfa_tf"


def _checked_labels(graph, labels) -> list[str]:
    labels = [str(label) for label in labels]
    classes = graph.tensor(graph.outputs[0]).shape[-1]
    if len(labels) != classes:
        raise InvalidInputError(
            f"The output {graph.outputs[0]!r} has {classes} classes and needs as many labels. "
            f"Received: {len(labels)}."
        )
    return labels
