"""The page beside an exported model that runs it in a browser."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

import numpy as np
import rich.console

from qfa_tf.runs.errors import RunError
from qfa_tf.runs.exporting.options import ExportOptions
from qfa_tf.runs.exporting.promises import resized_images
from qfa_tf.runs.exporting.records import ModelRecord
from qfa_tf.runs.messages import say
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search.intervals import with_interval

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits, Split

SAMPLES = 12


def page_folder(workdir: Workdir, name: str) -> pathlib.Path:
    """Folder of the page of a model."""
    return workdir.models / f"{name}.page"


def require_page(options: ExportOptions) -> None:
    """Checks before long work that a page can be made.

    Raises:
      RunError: Browsers cannot feed the input.
      MissingRuntimeError: LiteRT.js is not installed.
    """
    from tflite_tools.runtimes.browser import installed_packages

    if options.input_type == "int8":
        raise RunError(
            "LiteRT.js feeds no int8 images. Export the page's model with --input_type=uint8 or "
            "float32."
        )
    installed_packages("browser")


def write_model_page(
    workdir: Workdir,
    record: ModelRecord,
    data: "DataSplits",
    pixel_range: tuple[float, float],
    console: rich.console.Console,
) -> pathlib.Path:
    """Writes the page of a model, with some test images to try.

    Args:
      workdir: Of the run.
      record: Of the model.
      data: Of the run.
      pixel_range: What the bytes of an image stand for in training.
      console: For the address.

    Raises:
      InvalidInputError: The folder holds something else.
      FileWriteError: It cannot be written.
    """
    from tflite_tools import write_page

    chosen = first_of_each_class(data.test, SAMPLES)
    low, high = pixel_range
    images = resized_images(chosen.read_images(), record.architecture)
    pixels = np.clip(np.rint((images - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)
    accuracy = with_interval(record.accuracy["litert"], record.accuracy["images"])
    page = write_page(
        record.check_file(workdir).read_bytes(),
        page_folder(workdir, record.name),
        title=record.name,
        facts=f"{record.file_bytes:,} bytes, {accuracy} of {record.accuracy['images']:,} test "
        f"images in LiteRT, {record.verification['mismatches']} of "
        f"{record.verification['elements']:,} integers differ from the simulation",
        pixel_range=pixel_range,
        samples=pixels,
        sample_labels=[int(label) for label in chosen.labels],
    )
    say(
        console,
        f"Wrote {page}. To try it: python -m http.server --directory {page.parent}, then open "
        "http://localhost:8000",
    )
    return page


def first_of_each_class(split: "Split", most: int) -> "Split":
    """A split's images in turns over its classes, the first of each first."""
    labels = np.asarray(split.labels)
    turn = np.zeros(len(labels), int)
    for label in np.unique(labels):
        (places,) = np.nonzero(labels == label)
        turn[places] = np.arange(len(places))
    order = np.lexsort((labels, turn))[:most]
    return dataclasses.replace(split, indices=split.indices[order])
