"""TFLite Metadata: what an image classifier reads and answers, for tools that know nothing else.

MediaPipe Tasks, ML Kit, Android Studio and others take the size and normalization of the image and
the names of the classes from it. The tables are those of the format's own schema 1.5.0, by the code
that the FlatBuffers compiler makes of it (scripts/generate_metadata_schema.sh).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantize_configs.errors import InvalidInputError
from tflite_tools.flatbuffer.associated_files import with_files
from tflite_tools.flatbuffer.inspection import inspect
from tflite_tools.flatbuffer.metadata import add_entry, packed, remove_entry, unpacked

ENTRY_NAME = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"
"""Oldest reader that understands every field written here."""

_CHANNELS = (1, 3)


def with_task_metadata(
    flatbuffer: bytes,
    *,
    name: str,
    description: str = "",
    pixel_range: tuple[float, float] | None = None,
    input_name: str = "image",
    output_name: str = "logits",
    probabilities: bool = False,
) -> bytes:
    """A copy of an image classifier that tells other tools how to use it; it computes the same.

    The names of the classes are those that `convert(labels=)` stored. The signature gets the given
    names for the image and the answer.

    Args:
      flatbuffer: Bytes of a .tflite file with one image [1, H, W, 1 or 3] in and one row of classes
        out.
      name: Of the model.
      description: For people.
      pixel_range: What the bytes 0 and 255 of an image stand for in the model; needed where the
        input is FLOAT32, otherwise the input's own scale says it.
      input_name: Of the image.
      output_name: Of the answer.
      probabilities: Whether the answer is shares of 1 rather than logits.

    Raises:
      FlatbufferError: The bytes are no model.
      InvalidInputError: It is no such classifier, or the range is missing.
    """
    inspection = inspect(flatbuffer, delegation=False)
    if len(inspection.inputs) != 1 or len(inspection.outputs) != 1:
        raise InvalidInputError(
            "TFLite Metadata of an image classifier describes one input and one output. Received "
            f"{len(inspection.inputs)} and {len(inspection.outputs)}."
        )
    ((tensor, kind, shape),), ((answer, _, classes),) = inspection.inputs, inspection.outputs
    if len(shape) != 4 or shape[3] not in _CHANNELS:
        raise InvalidInputError(
            f"An image is [1, height, width, 1 or 3]. The input {tensor!r} is {list(shape)}."
        )
    if len(classes) != 2:
        raise InvalidInputError(
            f"The answer of a classifier is [1, classes]. The output {answer!r} is {list(classes)}."
        )
    if kind == "FLOAT32" and pixel_range is None:
        raise InvalidInputError(
            f"The input {tensor!r} is FLOAT32: pass pixel_range=(low, high), what the bytes 0 and "
            "255 of an image stand for."
        )
    from tflite_tools.flatbuffer import metadata_schema_generated as tables

    image = _image(tables, input_name, shape[3], kind, pixel_range)
    result = _answer(tables, output_name, probabilities, bool(inspection.labels))
    metadata = _model(tables, name, description, image, result)
    model = unpacked(without_task_metadata(flatbuffer))
    add_entry(model, ENTRY_NAME, metadata)
    for signature in model.signatureDefs or []:
        signature.inputs[0].name = input_name.encode()
        signature.outputs[0].name = output_name.encode()
    return with_files(packed(model), _label_file(inspection.labels))


def without_task_metadata(flatbuffer: bytes) -> bytes:
    """A copy without what `with_task_metadata` adds; signatures have the names of their tensors."""
    model = unpacked(flatbuffer)
    remove_entry(model, ENTRY_NAME)
    tensors = model.subgraphs[0].tensors
    for signature in model.signatureDefs or []:
        for item in (*signature.inputs, *signature.outputs):
            item.name = tensors[item.tensorIndex].name
    return packed(model)


def _label_file(labels: Sequence[str]) -> dict[str, bytes]:
    return {LABELS_FILE: "".join(f"{label}\n" for label in labels).encode()} if labels else {}


def _image(tables: Any, name: str, channels: int, kind: str, pixel_range) -> Any:
    """The table of the image: colours, and the normalization `(byte - mean) / std`."""
    low, high = (0.0, 1.0) if pixel_range is None else pixel_range
    step = (high - low) / 255.0
    options = tables.NormalizationOptionsT()
    options.mean, options.std = [-low / step], [1.0 / step]
    unit = tables.ProcessUnitT()
    unit.optionsType, unit.options = tables.ProcessUnitOptions.NormalizationOptions, options
    properties = tables.ImagePropertiesT()
    colours = tables.ColorSpaceType
    properties.colorSpace = colours.RGB if channels == 3 else colours.GRAYSCALE
    limits = (low, high) if kind == "FLOAT32" else (0.0, 255.0)
    table = _tensor(
        tables, name, "Image to classify.", tables.ContentProperties.ImageProperties, properties,
        limits,
    )  # fmt: skip
    table.processUnits = [unit]
    return table


def _answer(tables: Any, name: str, probabilities: bool, has_labels: bool) -> Any:
    what = "Probability" if probabilities else "Logit"
    kind = tables.ContentProperties.FeatureProperties
    limits = (0.0, 1.0) if probabilities else None
    table = _tensor(
        tables, name, f"{what} of each class.", kind, tables.FeaturePropertiesT(), limits
    )
    if has_labels:
        file = tables.AssociatedFileT()
        file.name, file.description = LABELS_FILE, "Names of the classes, one a line."
        file.type = tables.AssociatedFileType.TENSOR_AXIS_LABELS
        table.associatedFiles = [file]
    return table


def _tensor(tables: Any, name: str, description: str, kind: int, properties: Any, limits) -> Any:
    content = tables.ContentT()
    content.contentPropertiesType, content.contentProperties = kind, properties
    table = tables.TensorMetadataT()
    table.name, table.description, table.content = name, description, content
    if limits is not None:
        table.stats = tables.StatsT()
        table.stats.min, table.stats.max = [limits[0]], [limits[1]]
    return table


def _model(tables: Any, name: str, description: str, image: Any, answer: Any) -> np.ndarray:
    """The metadata as the bytes of a buffer, uint8 [n]."""
    import flatbuffers

    graph = tables.SubGraphMetadataT()
    graph.inputTensorMetadata, graph.outputTensorMetadata = [image], [answer]
    model = tables.ModelMetadataT()
    model.name, model.description, model.subgraphMetadata = name, description, [graph]
    model.minParserVersion = PARSER_VERSION
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return np.frombuffer(bytes(builder.Output()), np.uint8)
