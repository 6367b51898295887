"""Real images as a file takes them."""

from collections.abc import Sequence

import numpy as np

from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.conversion_keys import PIXELS_KEY
from tflite_tools.flatbuffer.metadata import read_metadata


def as_inputs(flatbuffer: bytes, images: np.ndarray) -> np.ndarray:
    """Images as a model with one input takes them: float32, bytes, or codes of its input's grid.

    Args:
      flatbuffer: Bytes of a .tflite file.
      images: float32 [N, ...], as the Keras model takes them.
    """
    return all_as_inputs(flatbuffer, [images])[0]


def all_as_inputs(flatbuffer: bytes, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same for several inputs, in the order of `runtime.input_names`."""
    pixels = (read_metadata(flatbuffer) or {}).get(PIXELS_KEY, {})
    details = runtime.load(flatbuffer).get_input_details()
    if len(details) == 1:  # whatever it is called
        pixels = dict.fromkeys([details[0]["name"]], next(iter(pixels.values()), None))
    return [
        _as_input(one, pixels.get(one["name"]), array)
        for one, array in zip(details, images, strict=True)
    ]


def _as_input(details: dict, pixels: Sequence[float] | None, images: np.ndarray) -> np.ndarray:
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return images.astype(dtype)
    limits = np.iinfo(dtype)
    if pixels:
        scale, offset = (np.float32(value) for value in pixels)
        codes = np.rint((images - offset) * (np.float32(1) / scale)) + limits.min
    else:
        parameters = details["quantization_parameters"]
        scale, zero_point = parameters["scales"][0], parameters["zero_points"][0]
        codes = np.rint(images * (np.float32(1) / scale)) + zero_point
    return np.clip(codes, limits.min, limits.max).astype(dtype)
