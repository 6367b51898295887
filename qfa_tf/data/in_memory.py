"""Decoding small encoded images once, to keep them."""

import numpy as np

from qfa_tf.data.encoded_images import EncodedImages
from qfa_tf.data.sources import ArrayImages, ImageSource

_LARGEST_SIDE = 256
_SAMPLE = 64


def in_memory(images: EncodedImages, resolution: int, memory_limit: int) -> ImageSource:
    """The images as an array where they are small, few and of one size; else `images`.

    Args:
      images: All images of a data set.
      resolution: To which the pipelines will resize; images far larger stay encoded.
      memory_limit: Bytes of the array.

    Raises:
      DataError: An image is damaged.
    """
    count = len(images)
    if not count or not memory_limit:
        return images
    ((first, _),) = images.decoded(np.zeros(1), images.channels)
    too_large = max(first.shape[:2]) > max(_LARGEST_SIDE, 2 * resolution)
    if too_large or count * first.size > memory_limit:
        return images
    array, labels = np.empty((count, *first.shape), np.uint8), np.empty(count, np.int32)
    for place, (image, label) in enumerate(images.decoded(np.arange(count), images.channels)):
        if image.shape != first.shape:
            return images
        array[place], labels[place] = image, label
    everything = np.arange(count)
    identities = images.content_ids(everything), images.name_ids(everything)
    return ArrayImages(array, labels, identities)


def number_of_channels(images: EncodedImages) -> int:
    """3 if any of a sample of the images has colours, else 1.

    Raises:
      DataError: An image is damaged.
    """
    places = np.unique(np.linspace(0, len(images) - 1, _SAMPLE).astype(np.int64))
    return 3 if any(image.shape[-1] >= 3 for image, _ in images.decoded(places)) else 1
