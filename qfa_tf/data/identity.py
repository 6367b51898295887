"""What tells one image from another: numbers made from its content and from its name."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

_BYTES = 8


def content_id(content: bytes | memoryview) -> int:
    """64 bits of a digest of an image, evenly spread."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=_BYTES).digest(), "little")


def array_ids(images: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """`content_id` of images in memory, uint64 [n].

    Args:
      images: [N, ...].
      indices: int64 [n].
    """
    ids = (content_id(np.ascontiguousarray(images[index]).data) for index in indices)
    return np.fromiter(ids, np.uint64, len(indices))


def name_ids(names: Iterable[str] | Sequence[str]) -> np.ndarray:
    """The same of names, uint64 [n]; never 0, which stands for "no name"."""
    return np.array([content_id(name.encode()) or 1 for name in names], np.uint64)


def as_uniforms(ids: np.ndarray) -> np.ndarray:
    """float64 in [0, 1) from uint64."""
    return ids.astype(np.float64) / 2.0**64
