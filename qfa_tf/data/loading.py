"""Data sets by name."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from qfa_tf.data.data_splits import DataSplits
from qfa_tf.data.digits import load_digits
from qfa_tf.data.errors import DataError
from qfa_tf.data.idx_files import load_idx
from qfa_tf.data.image_folder import load_folder
from qfa_tf.data.npz_file import load_npz
from qfa_tf.data.python_loader import load_with_python
from qfa_tf.data.tfds_data import load_tfds
from quantize_configs.arguments import whole_number

Loader = Callable[..., DataSplits]

DATASETS: dict[str, Loader] = {"digits": load_digits}
"""Names without a colon: loader(resolution, **options)."""

FORMATS: Mapping[str, Loader] = {
    "idx": load_idx,
    "folder": load_folder,
    "npz": load_npz,
    "tfds": load_tfds,
    "python": load_with_python,
}
"""What stands in front of the colon: loader(where, resolution, **options)."""

SCANNED = ("folder",)
"""Formats whose files are scanned before they are used."""


def load(
    name: str,
    resolution: int,
    *,
    search_validation: int | None = None,
    test: int | None = None,
    calibration: int | None = None,
    eval_crop: float | None = None,
    memory_limit: int | None = None,
    skip_damaged: bool | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    rule: str | None = None,
) -> DataSplits:
    """Loads a data set in its four splits, the same ones every time.

    Args:
      name: "digits" (of scikit-learn), "idx:DIR" (the files of MNIST and Fashion-MNIST),
        "folder:DIR" (image files in DIR/train/CLASS and DIR/test/CLASS, or in DIR/CLASS),
        "npz:FILE" (its arrays `images` and `labels`), "tfds:NAME" or "tfds:NAME@DATA_DIR"
        (TensorFlow Datasets), or "python:MODULE:FUNCTION"
        (a loader of your own).
      resolution: Height and width to which images are resized: the largest of the search space.
      search_validation: Number of images held out of the training images for the search; None
        for a tenth, at most 10,000.
      test: Number of images held out for testing where the data set has no test images of its
        own; None for a fifth, at most 10,000.
      calibration: Number of training images for calibration; None for all, at most 2,048.
      eval_crop: None to evaluate whole images, stretched to a square; for photographs, the share
        of the shorter side that is used, such as 0.875.
      memory_limit: Bytes; small images of one size stay in memory if they take no more (None:
        512 MiB), others are decoded when they are needed.
      skip_damaged: Whether the damaged files of a folder are left out; by default they are refused,
        all at once.
      on_progress: Told how many files of how many of a folder were scanned.
      rule: How splits are made, see `DataSplits.divide`; None for the way of the format: "images"
        for folders and data of your own, "positions" for published sets, which never change.

    Raises:
      DataError: There is no such data set, something is missing or damaged, or there are too few
        images for these sizes.
    """
    whole_number("resolution", resolution, 1)
    given: dict[str, Any] = {
        "search_validation": search_validation,
        "test": test,
        "calibration": calibration,
        "eval_crop": eval_crop,
        "memory_limit": memory_limit,
    }
    options = {key: value for key, value in given.items() if value is not None}
    if not isinstance(name, str):
        raise DataError(f"{_known()} Received: {name!r:.200}.")
    if name in DATASETS:
        return _divided(DATASETS[name](resolution, **options), rule)
    kind, _, where = name.partition(":")
    if kind not in FORMATS or not where:
        raise DataError(f"{_known()} Received: {name!r}.")
    if kind in SCANNED:
        given = {"skip_damaged": skip_damaged, "on_progress": on_progress}
        options |= {key: value for key, value in given.items() if value is not None}
    return _divided(FORMATS[kind](os.fspath(where), resolution, **options), rule)


def _known() -> str:
    return (
        f"The data sets are {sorted(DATASETS)}, 'idx:DIR', 'folder:DIR', 'npz:FILE', 'tfds:NAME' "
        "and 'python:MODULE:FUNCTION'."
    )


def _divided(data: DataSplits, rule: str | None) -> DataSplits:
    return data if rule is None else data.divided_again(rule)
