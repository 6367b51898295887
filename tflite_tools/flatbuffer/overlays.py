"""Numbers per layer that Model Explorer shows over the graph of a .tflite file.

The format is its node data: for a graph, values by the names of the tensors that nodes write, and
the colours of the smallest and the largest (ai-edge-model-explorer, node_data_builder.py).
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from quantize_configs.files import write_text
from tflite_tools.flatbuffer.inspection import inspect

GRAPH = "main"
"""What Model Explorer calls the graph of a .tflite file."""

_COLOURS = ("#f7fbff", "#2171b5")


def node_data(name: str, values: Mapping[str, float]) -> dict[str, Any]:
    """The content of one overlay.

    Args:
      name: What it is called in Model Explorer.
      values: By the names of tensors, as `LayerRecord.tensor`.
    """
    return {
        GRAPH: {
            "name": name,
            "results": {tensor: {"value": value} for tensor, value in values.items()},
            "gradient": [{"stop": stop, "bgColor": colour} for stop, colour in enumerate(_COLOURS)],
        }
    }


def write_overlays(
    flatbuffer: bytes,
    folder: str | os.PathLike,
    name: str,
    others: Mapping[str, Mapping[str, float]] | None = None,
) -> list[pathlib.Path]:
    """Writes NAME.KIND.json for bits of weights and activations, and for bytes of constants.

    Open them in Model Explorer beside the model ("Node data"), or start it with
    `model-explorer NAME.tflite --node_data_paths NAME.weight_bits.json`.

    Args:
      flatbuffer: Bytes of a .tflite file.
      folder: Where to.
      name: What the files begin with.
      others: Further values by tensor, by their kind, for example the codes that differ from Keras.

    Returns:
      The files that were written; a kind without any value has none.

    Raises:
      FlatbufferError: The bytes are no model.
      FileWriteError: A file cannot be written.
    """
    layers = inspect(flatbuffer, delegation=False).layers
    kinds: dict[str, Mapping[str, float]] = {
        "weight_bits": {
            layer.tensor: layer.weight_bits for layer in layers if layer.weight_bits is not None
        },
        "activation_bits": {
            layer.tensor: layer.activation_bits
            for layer in layers
            if layer.activation_bits is not None
        },
        "constant_bytes": {
            layer.tensor: layer.constant_bytes for layer in layers if layer.constant_bytes
        },
        **(others or {}),
    }
    written = []
    for kind, values in kinds.items():
        if values:
            path = pathlib.Path(folder) / f"{name}.{kind}.json"
            content = node_data(kind.replace("_", " "), values)
            write_text(path, json.dumps(content, indent=1) + "\n")
            written.append(path)
    return written
