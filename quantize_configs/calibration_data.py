"""Batches of images out of whatever `fit` would take."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras

BATCH_SIZE = 32


def image_batches(
    model: keras.Model, data: Any, batches: int | None = None, batch_size: int = BATCH_SIZE
) -> Iterator[list[tf.Tensor]]:
    """Batches of what a model takes, a tensor for each of its inputs.

    Args:
      model: Its inputs decide which shapes fit.
      data: An array of images; a tuple (images, labels) of arrays; a `tf.data.Dataset`, generator
        or list of batches, each of them images or a tuple (images, labels, ...). Several inputs
        come as a list of tensors, in a batch or as arrays.
      batches: Most batches, all when None.
      batch_size: Of arrays, which come whole.

    Raises:
      InvalidInputError: The data is of another kind, or its shapes do not fit.
    """
    for number, batch in enumerate(_batches(model, data, batch_size)):
        if number == batches:
            return
        is_of_inputs = isinstance(batch, list) and len(batch) == len(model.inputs) > 1
        images = batch[0] if isinstance(batch, tuple | list) and not is_of_inputs else batch
        tensors = [tf.convert_to_tensor(value) for value in _by_input(model, images)]
        _check_shapes(model, tensors, number)
        yield tensors


class ImageSample:
    """Images that are drawn evenly from batches while these are read, the same ones every time.

    Args:
      most: How many to keep.
    """

    def __init__(self, most: int):
        self._most = most
        self._count = 0
        self._kept: list[list[np.ndarray]] = []
        self._rng = np.random.default_rng(0)

    def add(self, batch: list[np.ndarray]) -> None:
        """Reads a batch, an array for each input of the model (Vitter's algorithm R)."""
        for image in zip(*batch, strict=True):
            self._count += 1
            if len(self._kept) < self._most:
                self._kept.append(list(image))
                continue
            place = int(self._rng.integers(0, self._count))
            if place < self._most:
                self._kept[place] = list(image)

    def images(self) -> list[np.ndarray]:
        """What was kept, an array for each input of the model."""
        return [np.stack(parts) for parts in zip(*self._kept, strict=True)]


def _batches(model, data, batch_size) -> Iterable:
    whole = data[0] if isinstance(data, tuple) and data and _is_whole(model, data[0]) else data
    if not _is_whole(model, whole):
        if not isinstance(data, Iterable):
            raise InvalidInputError(
                "The data must be an array of images, a tuple (images, labels), or batches of "
                f"either. Received: {type(data).__name__}."
            )
        return data
    arrays = _by_input(model, whole)
    count = len(arrays[0])
    return (
        ([array[start : start + batch_size] for array in arrays],)
        for start in range(0, count, batch_size)
    )


def _is_whole(model, data) -> bool:
    """Whether data is all images at once: an array, or one for each of several inputs."""
    if isinstance(data, list | dict) and len(model.inputs) > 1 and len(data) == len(model.inputs):
        arrays = zip(_flat(model, data), model.inputs, strict=True)
        return all(_is_array(value, tensor) for value, tensor in arrays)
    return _is_array(data, model.inputs[0])


def _is_array(value, tensor) -> bool:
    return isinstance(value, np.ndarray | tf.Tensor) and len(value.shape) == len(tensor.shape)


def _flat(model, data) -> list:
    if isinstance(data, dict):
        return [data[tensor._keras_history.layer.name] for tensor in model.inputs]
    return list(data)


def _by_input(model, images) -> list:
    if isinstance(images, dict):
        return _flat(model, images)
    return list(images) if isinstance(images, list | tuple) else [images]


def _check_shapes(model, tensors, number) -> None:
    expected = [tuple(tensor.shape) for tensor in model.inputs]
    shapes = [tuple(tensor.shape) for tensor in tensors]
    fits = len(shapes) == len(expected) and all(
        len(shape) == len(wanted)
        and all(b in (None, a) for a, b in zip(shape[1:], wanted[1:], strict=True))
        for shape, wanted in zip(shapes, expected, strict=True)
    )
    if not fits:
        raise InvalidInputError(
            f"Batch {number} has tensors of the shapes {shapes}; {model.name!r} takes {expected}, "
            "None for any size. Give an array of images, (images, labels), or batches of either."
        )
