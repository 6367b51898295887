"""Reading a `tf.data.Dataset` of (image, label) into arrays."""

import numpy as np
import tensorflow as tf

from qfa_tf.data.errors import DataError

MEMORY_LIMIT = 4 << 30
"""Bytes of images that are read into memory at most."""

_BATCH = 256


def collect(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Reads everything.

    Args:
      dataset: Of (image, label), or of batches of them.

    Returns:
      Images, uint8 or float32 [N, height, width, channels], and labels, int32 [N].

    Raises:
      DataError: The elements are something else, endless, or too many for memory.
    """
    dataset = _unbatched(dataset)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise DataError("The dataset is endless. Give it without repeat().")
    images, labels, size = [], [], 0
    try:
        for batch_images, batch_labels in dataset.batch(_BATCH).as_numpy_iterator():
            images.append(batch_images)
            labels.append(batch_labels)
            size += batch_images.nbytes
            if size > MEMORY_LIMIT:
                raise DataError(
                    f"The images take more than {MEMORY_LIMIT / 2**30:.0f} GiB. Give uint8 ones, "
                    "or write them as image files in a folder per class and load 'folder:DIR', "
                    "which reads them when they are needed."
                )
    except tf.errors.InvalidArgumentError as error:
        if "to the batch" not in str(error) and "batch tensors" not in str(error):
            raise
        raise DataError(
            "The images have different sizes. Resize them in the dataset, or write them as image "
            f"files in a folder per class and load 'folder:DIR'. ({str(error).splitlines()[0]})"
        ) from error
    if not images:
        raise DataError("The dataset is empty.")
    return np.concatenate(images), np.concatenate(labels).astype(np.int32)


def _unbatched(dataset: tf.data.Dataset) -> tf.data.Dataset:
    spec = dataset.element_spec
    parts = spec if isinstance(spec, tuple) and len(spec) == 2 else ()
    if not all(isinstance(part, tf.TensorSpec) for part in parts) or not parts:
        raise DataError(f"The elements must be (image, label). Received: {spec}.")
    if parts[0].shape.rank == 4:
        dataset = dataset.unbatch()
    image, label = dataset.element_spec
    if image.shape.rank != 3 or label.shape.rank != 0 or not label.dtype.is_integer:
        raise DataError(
            "Images must be [height, width, channels] and labels integer scalars (tf.argmax of "
            f"one-hot labels). Received: {spec}."
        )
    if image.dtype == tf.uint8:
        return dataset
    if not image.dtype.is_floating:
        raise DataError(f"Images must be uint8 or float in [0, 1]. Received: {image.dtype.name}.")
    return dataset.map(lambda image, label: (tf.cast(image, tf.float32), label))
