"""Writes a folder with a model and a page that runs it in a browser."""

import base64
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from quantize_configs.errors import InvalidInputError
from quantize_configs.files import write_bytes, write_text
from tflite_tools.flatbuffer.inspection import Inspection, inspect
from tflite_tools.runtimes.browser import installed_packages
from tflite_tools.web_page.ends import describe_input, describe_output

PAGE, MODEL, PACKAGES = "index.html", "model.tflite", "litert"
MOST_SAMPLES = 24

_TEMPLATE = pathlib.Path(__file__).with_name("page.html")
_DESCRIPTION = '<script id="description" type="application/json">{}</script>'
_PACKAGE_FILES = (
    "core/package.json",
    "core/dist/index.js",
    "core/wasm/litert_wasm_internal.js",
    "core/wasm/litert_wasm_internal.wasm",
    "core/wasm/litert_wasm_compat_internal.js",
    "core/wasm/litert_wasm_compat_internal.wasm",
    "wasm-utils/dist/index.js",
)
"""What LiteRT.js loads with one thread, with and without relaxed SIMD: 19 MB."""


def write_page(
    flatbuffer: bytes,
    folder: str | os.PathLike,
    *,
    title: str = "A model in the browser",
    facts: str = "",
    pixel_range: tuple[float, float] | None = None,
    samples: np.ndarray | None = None,
    sample_labels: Sequence[int] | None = None,
) -> pathlib.Path:
    """Writes a page that classifies dropped images, those of the camera and some samples.

    The folder holds the page, the model and LiteRT.js, and loads nothing from elsewhere; any server
    of files can serve it (`python -m http.server`). The page shows the answers with their shares,
    the time per image and the bits of every layer.

    Args:
      flatbuffer: Bytes of a .tflite file: one image [1, H, W, 1 or 3] in (uint8 or float32), one
        row of classes out.
      folder: Of the page; created, or replaced where it holds a page of before.
      title: Heading.
      facts: A line below it.
      pixel_range: What the bytes 0 and 255 of an image stand for where the input is float32.
      samples: uint8 [N, H, W, 1 or 3], N at most MOST_SAMPLES: images to try.
      sample_labels: Class of each of them.

    Returns:
      The path of the page.

    Raises:
      FlatbufferError: The bytes are no model.
      InvalidInputError: The model is no classifier of images that a browser can feed, the samples
        do not fit it, or the folder holds something else.
      MissingRuntimeError: LiteRT.js is not installed.
      FileWriteError: Something cannot be written.
    """
    inspection = inspect(flatbuffer, delegation=False)
    image = describe_input(inspection, pixel_range)
    output = describe_output(flatbuffer, inspection)
    description = {
        "title": title,
        "facts": facts,
        "input": image,
        "output": output,
        "labels": list(inspection.labels),
        "layers": _layers(inspection),
        "samples": _samples(samples, sample_labels, image["shape"][1:], inspection.labels),
    }
    packages = installed_packages("browser")
    folder = pathlib.Path(folder)
    _require_own(folder)
    for name in _PACKAGE_FILES:
        write_bytes(folder / PACKAGES / name, (packages / name).read_bytes())
    write_bytes(folder / MODEL, flatbuffer)
    page = _TEMPLATE.read_text("utf-8").replace(
        _DESCRIPTION, _DESCRIPTION.format(_json(description))
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _layers(inspection: Inspection) -> list[dict[str, Any]]:
    """The operators that have weights."""
    fields = ("name", "operator", "weight_bits", "activation_bits", "constant_bytes")
    return [
        {field: getattr(layer, field) for field in fields}
        for layer in inspection.layers
        if layer.weight_bits is not None
    ]


def _samples(
    images: np.ndarray | None,
    classes: Sequence[int] | None,
    shape: Sequence[int],
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    if images is None:
        return []
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != tuple(shape) or len(images) > MOST_SAMPLES:
        raise InvalidInputError(
            f"samples are at most {MOST_SAMPLES} images, uint8 {['N', *shape]}. Received: "
            f"{images.dtype} {list(images.shape)}."
        )
    if classes is not None and len(classes) != len(images):
        raise InvalidInputError(
            f"sample_labels is one class for each of the {len(images)} samples. Received: "
            f"{len(classes)}."
        )
    told = [None] * len(images) if classes is None else [int(number) for number in classes]
    return [
        {
            "pixels": base64.b64encode(image.tobytes()).decode(),
            "label": None if number is None else _label(number, labels),
        }
        for image, number in zip(images, told, strict=True)
    ]


def _label(number: int, labels: Sequence[str]) -> str:
    return labels[number] if 0 <= number < len(labels) else f"class {number}"


def _require_own(folder: pathlib.Path) -> None:
    """A folder of other things is left alone."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is a file; choose another folder for the page.")
    others = {item.name for item in folder.glob("*")} - {PAGE, MODEL, PACKAGES}
    if others:
        raise InvalidInputError(
            f"{folder} holds other things ({', '.join(sorted(others)[:3])}); choose an empty "
            "folder for the page."
        )


def _json(description: dict[str, Any]) -> str:
    """JSON that cannot end the element that it stands in."""
    return json.dumps(description, ensure_ascii=False).replace("<", "\\u003c")
