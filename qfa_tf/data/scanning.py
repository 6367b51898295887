"""One look at all image files of a folder: what can be read, how many channels, which are equal."""

import concurrent.futures
import hashlib
import os
import pathlib
import time
import zipfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qfa_tf.data.identity import content_id
from quantize_configs.files import FileWriteError, replacing

OnProgress = Callable[[int, int], None]
"""on_progress(files done, files in all)."""

_VERSION = 1
_THREADS = 2 * (os.cpu_count() or 1)
_SETTLED_NANOSECONDS = 2_000_000_000
"""A file that changed so shortly before it was looked at can change again unnoticed."""


class Scan(NamedTuple):
    """What is known of each file.

    Attributes:
      names: Relative to the folder.
      content: uint64 [N], see `content_id`.
      channels: int8 [N], of the image; 0 where it cannot be decoded.
    """

    names: tuple[str, ...]
    content: np.ndarray
    channels: np.ndarray

    @property
    def damaged(self) -> list[str]:
        """Names of the files that cannot be decoded."""
        return [self.names[place] for place in np.flatnonzero(self.channels == 0)]


def scan(root: pathlib.Path, names: Sequence[str], on_progress: OnProgress | None = None) -> Scan:
    """Reads and decodes all files, but those that did not change since they were read last.

    What is found is kept in the user's cache folder, by size and time of each file.

    Args:
      root: The folder.
      names: Of the files in it, relative to `root`.
      on_progress: Told how far it is.
    """
    stats = [_stat(root / name) for name in names]
    kept = _Cache(root)
    content, channels = np.zeros(len(names), np.uint64), np.zeros(len(names), np.int8)
    unknown = []
    for place, (name, stat) in enumerate(zip(names, stats, strict=True)):
        found = kept.find(name, stat)
        if found is None:
            unknown.append(place)
        else:
            content[place], channels[place] = found
    done = len(names) - len(unknown)
    began = time.time_ns()
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        paths = (root / names[place] for place in unknown)
        for place, found in zip(unknown, pool.map(_look_at, paths), strict=True):
            content[place], channels[place] = found
            done += 1
            if on_progress is not None and (done % 64 == 0 or done == len(names)):
                on_progress(done, len(names))
    if unknown or kept.size > len(names):
        kept.write(names, stats, content, channels, began)
    return Scan(tuple(names), content, channels)


def _look_at(path: pathlib.Path) -> tuple[int, int]:
    """(content id, channels) of a file; (its id or 0, 0) when it is no image."""
    try:
        data = path.read_bytes()
    except OSError:
        return 0, 0
    try:
        image = tf.io.decode_image(data, 0, tf.uint8, expand_animations=False)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return content_id(data), 0
    return content_id(data), int(image.shape[-1])


def _stat(path: pathlib.Path) -> tuple[int, int]:
    """(size, time of the last change in nanoseconds); (-1, -1) of what cannot be read."""
    try:
        stat = path.stat()
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def cache_folder() -> pathlib.Path:
    """Where results are kept: `qfa_tf` in XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "qfa_tf"


def cache_file(root: pathlib.Path) -> pathlib.Path:
    """Where the results of a folder are kept."""
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:24]
    return cache_folder() / "scans" / f"{name}.npz"


class _Cache:
    """What earlier scans of a folder found; empty when that cannot be read."""

    def __init__(self, root: pathlib.Path):
        self._path = cache_file(root)
        self._known: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}
        try:
            with open(self._path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                if int(file["version"]) != _VERSION:
                    return
                rows = zip(
                    file["names"].tolist(),
                    zip(file["sizes"].tolist(), file["times"].tolist(), strict=True),
                    zip(file["content"].tolist(), file["channels"].tolist(), strict=True),
                    strict=True,
                )
                self._known = {name: (stat, found) for name, stat, found in rows}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # made anew
            self._known = {}

    @property
    def size(self) -> int:
        """Number of files."""
        return len(self._known)

    def find(self, name: str, stat: tuple[int, int]) -> tuple[int, int] | None:
        """What was found when the file had this size and time; None when it never had."""
        known = self._known.get(name)
        return known[1] if known is not None and known[0] == stat and stat[0] >= 0 else None

    def write(
        self,
        names: Sequence[str],
        stats: Sequence[tuple[int, int]],
        content: np.ndarray,
        channels: np.ndarray,
        began: int,
    ) -> None:
        """Keeps the results of files that had settled; without a place to write, none."""
        settled = [
            place
            for place, (_, changed) in enumerate(stats)
            if 0 <= changed < began - _SETTLED_NANOSECONDS
        ]
        sizes, times = np.array(stats, np.int64).reshape(-1, 2)[settled].T
        try:
            with replacing(self._path) as temporary:
                np.savez_compressed(
                    temporary,
                    version=_VERSION,
                    names=np.array([names[place] for place in settled], np.str_),
                    sizes=sizes,
                    times=times,
                    content=content[settled],
                    channels=channels[settled],
                )
        except FileWriteError:
            return
