"""The metadata entry of a flatbuffer: JSON with the conversion, bits of layers, labels and more.

Keys that `convert` writes: "conversion" (its options), "bits" (by layer: weight and activation
bits), "labels" (if given), "writer". The caller adds others, such as an architecture.
"""

import json
from typing import Any

import numpy as np

from tflite_tools.flatbuffer.associated_files import read_files, with_files
from tflite_tools.flatbuffer.damage import FILE_IDENTIFIER, damage_said

#: Name of the metadata entry in the flatbuffer.
METADATA_NAME = "qfa_tf"


def read_metadata(flatbuffer: bytes) -> dict | None:
    """The metadata dictionary of a flatbuffer; None if it has none.

    Raises:
      FlatbufferError: The bytes are no model, or damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    with damage_said(flatbuffer):
        model = schema.Model.GetRootAs(flatbuffer)
        for index in range(model.MetadataLength()):
            entry = model.Metadata(index)
            if entry.Name() == METADATA_NAME.encode():
                return dict(json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()))
    return None


def with_metadata(flatbuffer: bytes, entries: dict[str, Any]) -> bytes:
    """A copy of a flatbuffer with more entries in its metadata; it computes the same.

    Args:
      flatbuffer: Bytes of any .tflite file.
      entries: Anything JSON can hold, replacing entries of the same key.

    Raises:
      FlatbufferError: The bytes are no model, or damaged.
    """
    with damage_said(flatbuffer):
        model = unpacked(flatbuffer)
        metadata = {**(read_metadata(flatbuffer) or {}), **entries}
        add_entry(model, METADATA_NAME, encoded(metadata))
        return with_files(packed(model), read_files(flatbuffer))


def unpacked(flatbuffer: bytes) -> Any:
    """A model as objects that can be changed."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer))


def packed(model: Any) -> bytes:
    """The bytes of a model."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def add_entry(model: Any, name: str, content: np.ndarray) -> None:
    """Adds or replaces an entry of a model's metadata.

    Args:
      model: From `unpacked`.
      name: Of the entry.
      content: uint8 [n].
    """
    from ai_edge_litert import schema_py_generated as schema

    found = [item for item in model.metadata or [] if item.name == name.encode()]
    if not found:
        entry = schema.MetadataT()
        entry.name, entry.buffer = name.encode(), len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.metadata = [*(model.metadata or []), entry]
        found = [entry]
    model.buffers[found[0].buffer].data = content


def remove_entry(model: Any, name: str) -> None:
    """Removes an entry of a model's metadata, with its buffer where that is the last one."""
    for item in [item for item in model.metadata or [] if item.name == name.encode()]:
        model.metadata.remove(item)
        if item.buffer == len(model.buffers) - 1:
            model.buffers.pop()
        else:
            model.buffers[item.buffer].data = None


def encoded(metadata: dict[str, Any]) -> np.ndarray:
    """Metadata as the bytes of a buffer, uint8 [n]; the same dictionary gives the same bytes."""
    return np.frombuffer(json.dumps(metadata, sort_keys=True).encode(), np.uint8)
