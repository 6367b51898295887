"""Folders with one folder of image files per class."""

import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qfa_tf.data.data_splits import DataSplits
from qfa_tf.data.encoded_images import EncodedImages
from qfa_tf.data.errors import DataError
from qfa_tf.data.in_memory import in_memory, number_of_channels
from qfa_tf.data.options import LoadOptions
from qfa_tf.data.split import Split
from qfa_tf.data.splitting import SPLIT_SEED

EXTENSIONS = (".png", ".jpg", ".jpeg")
TRAIN_FOLDER = "train"
TEST_FOLDERS = ("test", "val", "validation")
_LAYOUT = "DIR/train/CLASS/*.png|jpg and DIR/test/CLASS/ (or val), or DIR/CLASS/*.png|jpg"


class FileImages(EncodedImages):
    """Image files in folders of their classes, in a random order that is always the same.

    Args:
      root: The folder of the class folders.
      class_names: Which of them; their places are the labels.
      channels: 1 or 3; None to look at a sample of the images.

    Raises:
      DataError: There are no images in a class, or one of the sample is damaged.
    """

    def __init__(self, root: pathlib.Path, class_names: Sequence[str], channels: int | None = None):
        self._root = root
        paths, labels = [], []
        for label, name in enumerate(class_names):
            folder = root / name
            found = sorted(
                entry.name
                for entry in (os.scandir(folder) if folder.is_dir() else ())
                if entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith(".")
            )
            paths += [f"{name}/{file}" for file in found]
            labels += [label] * len(found)
        # Batches of neighbours, as in calibration, must not hold a single class.
        order = np.random.default_rng(SPLIT_SEED).permutation(len(paths))
        self._paths = [paths[place] for place in order]
        self._labels = np.array(labels, np.int32)[order]
        if not paths:
            raise DataError(f"There are no images ({', '.join(EXTENSIONS)}) in {root}/CLASS.")
        self.channels = channels or number_of_channels(self)

    def __len__(self) -> int:
        return len(self._paths)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """See the base class."""
        return self._labels[indices]

    def fingerprint(self, indices: np.ndarray) -> bytes:
        """Names, which hold the class, and sizes of the files."""
        lines = []
        for index in indices:
            path = self._root / self._paths[index]
            try:
                lines.append(f"{self._paths[index]} {path.stat().st_size}")
            except OSError as error:
                raise DataError(f"The image {path} cannot be read: {error}.") from error
        return "\n".join(lines).encode()

    def contents(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See the base class."""
        return tf.io.read_file(self.name(index)), tf.gather(self._tables[1], index)

    def name(self, index: tf.Tensor) -> tf.Tensor:
        """The path of the file."""
        return tf.strings.join([f"{self._root}/", tf.gather(self._tables[0], index)])

    @functools.cached_property
    def _tables(self) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(self._paths), tf.constant(self._labels)


def load_folder(directory: str, resolution: int, **options) -> DataSplits:
    """Image files in `directory`/train/CLASS and `directory`/test/CLASS, or in `directory`/CLASS.

    Args:
      directory: With "train" and one of `TEST_FOLDERS`, or with the class folders themselves;
        without test images, some of the training images are held out. The sorted names of the
        class folders are the labels.
      resolution: Height and width to which the pipelines resize.
      **options: Fields of `LoadOptions`.

    Raises:
      DataError: The folder is missing, empty or of another layout; an image is damaged.
    """
    chosen = LoadOptions(**options)
    root = pathlib.Path(directory).expanduser()
    if not root.is_dir():
        raise DataError(f"There is no folder {root}. The layout is {_LAYOUT}.")
    train_root = root / TRAIN_FOLDER if (root / TRAIN_FOLDER).is_dir() else root
    class_names = _folders(train_root)
    if len(class_names) < 2:
        raise DataError(
            f"{train_root} needs a folder for each of two classes or more. Received: "
            f"{class_names}. The layout is {_LAYOUT}."
        )
    train = FileImages(train_root, class_names)
    present = np.bincount(train.labels(np.arange(len(train))), minlength=len(class_names))
    if not present.all():
        empty = train_root / class_names[int(np.argmin(present))]
        raise DataError(f"There are no images ({', '.join(EXTENSIONS)}) in {empty}.")
    sources = [train]
    test_root = next((root / name for name in TEST_FOLDERS if (root / name).is_dir()), None)
    if train_root != root and test_root is not None:
        unknown = sorted(set(_folders(test_root)) - set(class_names))
        if unknown:
            raise DataError(f"{test_root} has classes that {train_root} has not: {unknown}.")
        sources.append(FileImages(test_root, class_names, train.channels))
    splits = []
    for source in sources:
        images = in_memory(source, resolution, chosen.memory_limit)
        splits.append(Split(images, np.arange(len(images)), resolution, chosen.eval_crop))
    return DataSplits.divide(
        root.resolve().name, len(class_names), *splits, sizes=chosen.sizes, class_names=class_names
    )


def _folders(root: pathlib.Path) -> list[str]:
    return sorted(
        entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name[0] not in "._"
    )
