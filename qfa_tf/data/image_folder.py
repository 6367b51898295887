"""Folders with one folder of image files per class."""

import collections
import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from qfa_tf.data.data_splits import DataSplits
from qfa_tf.data.encoded_images import EncodedImages
from qfa_tf.data.errors import DataError
from qfa_tf.data.folder_report import FolderReport, some
from qfa_tf.data.identity import name_ids
from qfa_tf.data.in_memory import in_memory
from qfa_tf.data.options import LoadOptions
from qfa_tf.data.scanning import Scan, scan
from qfa_tf.data.split import Split
from qfa_tf.data.splitting import SPLIT_SEED

EXTENSIONS = (".png", ".jpg", ".jpeg")
TRAIN_FOLDER = "train"
TEST_FOLDERS = ("test", "val", "validation")
MOST_NAMED = 50
"""Damaged files that a message names."""

_SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")
_LAYOUT = "DIR/train/CLASS/*.png|jpg and DIR/test/CLASS/ (or val), or DIR/CLASS/*.png|jpg"


class FileImages(EncodedImages):
    """Image files, in a random order that is the same for the same number of them.

    Args:
      root: Folder of the data set.
      names: Of the files, relative to `root`.
      labels: int [N].
      content: uint64 [N], their content ids.
      channels: 1 or 3.
    """

    def __init__(
        self,
        root: pathlib.Path,
        names: Sequence[str],
        labels: np.ndarray,
        content: np.ndarray,
        channels: int,
    ):
        self._root = root
        # Where splits are drawn by position, batches of neighbours must not hold a single class.
        order = np.random.default_rng(SPLIT_SEED).permutation(len(names))
        self._paths = [names[place] for place in order]
        self._labels = np.asarray(labels, np.int32)[order]
        self._content = np.asarray(content, np.uint64)[order]
        self.channels = channels

    def __len__(self) -> int:
        return len(self._paths)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """See the base class."""
        return self._labels[indices]

    def content_ids(self, indices: np.ndarray) -> np.ndarray:
        """See the base class."""
        return self._content[indices]

    def name_ids(self, indices: np.ndarray) -> np.ndarray:
        """See the base class."""
        return name_ids(self._paths[index] for index in indices)

    def fingerprint(self, indices: np.ndarray) -> bytes:
        """Names, which hold the class, contents when they were scanned, and sizes as they are."""
        lines = [self._content[indices].tobytes().hex()]
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
    train_name = TRAIN_FOLDER if (root / TRAIN_FOLDER).is_dir() else "."
    test_name = next((name for name in TEST_FOLDERS if (root / name).is_dir()), None)
    if train_name == ".":
        test_name = None
    class_names = _folders(root / train_name)
    if len(class_names) < 2:
        raise DataError(
            f"{root / train_name} needs a folder for each of two classes or more. Received: "
            f"{class_names}. The layout is {_LAYOUT}."
        )
    if test_name is not None:
        unknown = sorted(set(_folders(root / test_name)) - set(class_names))
        if unknown:
            raise DataError(
                f"{root / test_name} has classes that {root / train_name} has not: {unknown}."
            )
    parts = [_Listing(root, part, class_names) for part in (train_name, test_name) if part]
    found = scan(root, [name for part in parts for name in part.names], chosen.on_progress)
    labels = np.concatenate([np.array(part.labels, np.int32) for part in parts])
    tests = np.repeat(np.arange(len(parts)) > 0, [len(part.names) for part in parts])
    report = FolderReport.of(
        found,
        labels,
        tests,
        sum((part.ignored for part in parts), collections.Counter()),
        [folder for part in parts for folder in part.nested],
        [name for part in parts for name in part.outside],
    )
    good = found.channels > 0
    present = np.bincount(labels[good & ~tests], minlength=len(class_names))
    refusals = [_damage(root, found)] if found.damaged and not chosen.skip_damaged else []
    if not present.all():
        empty = [class_names[place] for place in np.flatnonzero(present == 0)]
        folders = ", ".join(str(root / train_name / name) for name in empty)
        refusals.append(f"There are no images ({', '.join(EXTENSIONS)}) in {folders}.")
    if refusals:
        raise DataError(" ".join(refusals))
    channels = 3 if (found.channels >= 3).any() else 1
    names = np.array(found.names, object)
    splits = []
    for is_test in range(len(parts)):
        chosen_files = good & (tests == bool(is_test))
        source = FileImages(
            root, names[chosen_files], labels[chosen_files], found.content[chosen_files], channels
        )
        if is_test and not len(source):
            continue
        images = in_memory(source, resolution, chosen.bytes_in_memory)
        splits.append(Split(images, np.arange(len(images)), resolution, chosen.eval_crop))
    return DataSplits.divide(
        root.resolve().name,
        len(class_names),
        *splits,
        sizes=chosen.sizes,
        class_names=class_names,
        report=report,
    )


class _Listing:
    """The files of a part of a data set: images of each class, and what else lies there.

    Attributes:
      names: Of image files, relative to the data set.
      labels: Of each, the place of its class.
      ignored: Number of other files by ending.
      nested: Folders within the class folders.
      outside: Image files beside the class folders, of no class.
    """

    def __init__(self, root: pathlib.Path, part: str, class_names: Sequence[str]):
        self.names: list[str] = []
        self.labels: list[int] = []
        self.ignored: collections.Counter[str] = collections.Counter()
        self.nested: list[str] = []
        self.outside: list[str] = []
        if (root / part).is_dir():
            self._look_beside(root, part)
        for label, class_name in enumerate(class_names):
            folder = pathlib.PurePath(part, class_name).as_posix()
            if (root / folder).is_dir():
                self._read(root, folder, label)

    def _look_beside(self, root: pathlib.Path, part: str) -> None:
        for entry in _entries(root / part):
            if entry.is_file() and _is_image(entry):
                self.outside.append(pathlib.PurePath(part, entry.name).as_posix())
            elif entry.is_file():
                self._ignore(entry)

    def _read(self, root: pathlib.Path, folder: str, label: int) -> None:
        for entry in _entries(root / folder):
            name = f"{folder}/{entry.name}"
            if entry.is_dir():
                self.nested.append(name)
            elif _is_image(entry):
                self.names.append(name)
                self.labels.append(label)
            else:
                self._ignore(entry)

    def _ignore(self, entry: os.DirEntry) -> None:
        if entry.name not in _SYSTEM_FILES:
            self.ignored[pathlib.PurePath(entry.name).suffix.lower() or "without ending"] += 1


def _entries(folder: pathlib.Path) -> list[os.DirEntry]:
    return sorted(os.scandir(folder), key=lambda entry: entry.name)


def _is_image(entry: os.DirEntry) -> bool:
    return entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith(".")


def _damage(root: pathlib.Path, found: Scan) -> str:
    """The sentence about all damaged files."""
    names = [str(root / name) for name in found.damaged]
    verb, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return (
        f"{len(names):,} of the {len(found.names):,} image files cannot be read, {verb} damaged, "
        f"or {verb} neither PNG nor JPEG; replace or remove {them}, or go on without "
        f"(--skip_damaged, or load(..., skip_damaged=True)): {some(names, MOST_NAMED)}."
    )


def _folders(root: pathlib.Path) -> list[str]:
    return sorted(
        entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name[0] not in "._"
    )
