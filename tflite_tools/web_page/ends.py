"""What a page must know of the input and the output of a model."""

from typing import Any

from quantize_configs.errors import InvalidInputError
from tflite_tools.flatbuffer.inspection import Inspection

_INPUTS = ("UINT8", "FLOAT32")
"""That LiteRT.js takes and that an image can be."""
_OUTPUTS = ("FLOAT32", "INT8", "UINT8")
_CHANNELS = (1, 3)


def describe_input(
    inspection: Inspection, pixel_range: tuple[float, float] | None
) -> dict[str, Any]:
    """Type and shape of the image, and what its bytes become where they are floats.

    Raises:
      InvalidInputError: It is no image that a browser can feed, or the range is missing.
    """
    if len(inspection.inputs) != 1:
        raise InvalidInputError(
            f"A page feeds one image. The model has {len(inspection.inputs)} inputs: "
            f"{', '.join(name for name, _, _ in inspection.inputs)}."
        )
    ((name, kind, shape),) = inspection.inputs
    if kind not in _INPUTS or len(shape) != 4 or shape[0] != 1 or shape[3] not in _CHANNELS:
        raise InvalidInputError(
            "A page feeds UINT8 or FLOAT32 images [1, height, width, 1 or 3]. The input "
            f"{name!r} is {kind} {list(shape)}; convert with input_type='uint8'."
        )
    if kind == "UINT8":
        return {"type": kind, "shape": list(shape), "scale": 1.0, "offset": 0.0}
    if pixel_range is None:
        raise InvalidInputError(
            f"The input {name!r} is FLOAT32: say what the bytes 0 and 255 of an image stand for, "
            "for example pixel_range=(0.0, 1.0), or convert with input_type='uint8'."
        )
    low, high = pixel_range
    return {"type": kind, "shape": list(shape), "scale": (high - low) / 255.0, "offset": low}


def describe_output(flatbuffer: bytes, inspection: Inspection) -> dict[str, Any]:
    """Step and zero point of the classes, and whether they are probabilities already.

    Raises:
      InvalidInputError: They are no row of classes.
    """
    if len(inspection.outputs) != 1:
        raise InvalidInputError(
            f"A page shows the classes of one output. The model has {len(inspection.outputs)}: "
            f"{', '.join(name for name, _, _ in inspection.outputs)}."
        )
    ((name, kind, shape),) = inspection.outputs
    if kind not in _OUTPUTS or len(shape) != 2 or shape[0] != 1:
        raise InvalidInputError(
            f"A page shows one row of classes, [1, classes]. The output {name!r} is {kind} "
            f"{list(shape)}."
        )
    scale, zero_point = (1.0, 0) if kind == "FLOAT32" else _grid_of_output(flatbuffer)
    last = [layer.operator for layer in inspection.layers[-2:]]
    return {"scale": scale, "zero_point": zero_point, "is_probability": "SOFTMAX" in last}


def _grid_of_output(flatbuffer: bytes) -> tuple[float, int]:
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(flatbuffer).Subgraphs(0)
    quantization = graph.Tensors(graph.Outputs(0)).Quantization()
    return float(quantization.Scale(0)), int(quantization.ZeroPoint(0))
