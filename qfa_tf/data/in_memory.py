"""Decoding small encoded images once, to keep them."""

import concurrent.futures

import numpy as np

from qfa_tf.data.encoded_images import EncodedImages
from qfa_tf.data.sources import ArrayImages, ImageSource

_LARGEST_SIDE = 256
_THREADS = 8
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
    if not len(images):
        return images
    shape = images.decode_whole(0).shape
    too_large = max(shape[:2]) > max(_LARGEST_SIDE, 2 * resolution)
    if too_large or len(images) * int(np.prod(shape)) > memory_limit:
        return images
    # One batch first, to see quickly that sizes differ.
    array = np.empty((len(images), *shape), np.uint8)
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(images), _SAMPLE):
            indices = range(start, min(start + _SAMPLE, len(images)))
            decoded = list(pool.map(images.decode_whole, indices))
            if any(image.shape != shape for image in decoded):
                return images
            array[start : start + len(decoded)] = decoded
    return ArrayImages(array, images.labels(np.arange(len(images))))


def number_of_channels(images: EncodedImages) -> int:
    """3 if any of a sample of the images has colours, else 1.

    Raises:
      DataError: An image is damaged.
    """
    places = np.unique(np.linspace(0, len(images) - 1, _SAMPLE).astype(int)).tolist()
    return 3 if any(map(images.has_colours, places)) else 1
