"""The metadata entry of a flatbuffer: JSON with the conversion, bits of layers, labels and more.

Keys that `convert` writes: "conversion" (its options), "bits" (by layer: weight and activation
bits), "labels" (if given), "writer". The caller adds others, such as an architecture.
"""

import json
from typing import Any

import numpy as np

#: Name of the metadata entry in the flatbuffer.
METADATA_NAME = "qfa_tf"
FILE_IDENTIFIER = b"TFL3"


def read_metadata(flatbuffer: bytes) -> dict | None:
    """The metadata dictionary of a flatbuffer; None if it has none.

    Raises:
      ValueError: The entry is no JSON.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(flatbuffer)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == METADATA_NAME.encode():
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return None


def with_metadata(flatbuffer: bytes, entries: dict[str, Any]) -> bytes:
    """A copy of a flatbuffer with more entries in its metadata; it computes the same.

    Args:
      flatbuffer: Bytes of any .tflite file.
      entries: Anything JSON can hold, replacing entries of the same key.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    metadata = {**(read_metadata(flatbuffer) or {}), **entries}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer))
    found = [item for item in model.metadata or [] if item.name == METADATA_NAME.encode()]
    if found:
        buffer = model.buffers[found[0].buffer]
    else:
        buffer = schema.BufferT()
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA_NAME.encode(), len(model.buffers)
        model.buffers.append(buffer)
        model.metadata = [*(model.metadata or []), entry]
    buffer.data = encoded(metadata)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def encoded(metadata: dict[str, Any]) -> np.ndarray:
    """Metadata as the bytes of a buffer, uint8 [n]; the same dictionary gives the same bytes."""
    return np.frombuffer(json.dumps(metadata, sort_keys=True).encode(), np.uint8)
