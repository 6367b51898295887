"""Reading some of the training images beside `fit`, in whatever form it was given them."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.keras_backend import keras

DEFAULT_BATCH_SIZE = 32  # of Keras
MOST_KEPT = 8
"""Batches that are kept of a generator."""


class TrainingSample:
    """Some batches of the training images.

    Args:
      x: As for `keras.Model.fit`: arrays, a `tf.data.Dataset`, a `keras.utils.Sequence` or a
        generator.
      y: As for `fit`; None where the batches hold the labels.
      batch_size: Of arrays.
      share: Of arrays, the part that is trained on, from the start.

    Attributes:
      x: What to give to `fit`: a generator is wrapped, so that none of its batches is lost.
      example: The first batch, or its specification; None when that is not known.
    """

    def __init__(self, x: Any, y: Any = None, batch_size: int | None = None, share: float = 1.0):
        self.x, self.example = x, None
        self._batches: Any = None
        if isinstance(x, tf.data.Dataset):
            self.example, self._batches = x.element_spec, x
        elif isinstance(x, keras.utils.Sequence):
            self.example, self._batches = x[0], x
        elif isinstance(x, Iterator):
            first = list(itertools.islice(x, 1))
            kept: list[Any] = []
            self._batches = kept
            self.x = _keeping(itertools.chain(first, x), kept)
            self.example = first[0] if first else None
        elif hasattr(x, "shape"):
            self.example = (x, y)
            count = int(np.floor(len(x) * share))
            self._batches = _ArrayBatches(x, batch_size or DEFAULT_BATCH_SIZE, count)

    def images(self, batches: int) -> list | None:
        """Images of at most so many batches; None when they cannot be read beside `fit`.

        Of a generator these are the first batches that `fit` took.
        """
        if self._batches is None:
            return None
        if isinstance(self._batches, keras.utils.Sequence):
            found = [self._batches[index] for index in range(min(batches, len(self._batches)))]
        else:
            found = list(itertools.islice(iter(self._batches), batches))
        return [batch[0] if isinstance(batch, tuple | list) else batch for batch in found]


class _ArrayBatches:
    """Batches of images spread evenly over an array, whose order may be that of the classes."""

    def __init__(self, images: Any, batch_size: int, count: int):
        self._images, self._batch_size, self._count = images, batch_size, count

    def __iter__(self) -> Iterator:
        batches = max(1, self._count // self._batch_size)
        for first in range(batches):
            places = np.arange(first, self._count, batches)[: self._batch_size]
            yield tf.gather(self._images, places)


def _keeping(batches: Iterator, kept: list) -> Iterator:
    """Passes the batches on and keeps the first of them."""
    for batch in batches:
        if len(kept) < MOST_KEPT:
            kept.append(batch)
        yield batch
