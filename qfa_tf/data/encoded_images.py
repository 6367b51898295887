"""Image files (PNG, JPEG and what else Pillow reads) that are decoded when they are needed."""

import abc
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from qfa_tf.data.errors import DataError
from qfa_tf.data.sources import ImageSource, Region

_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""

_EXIF_ORIENTATION = 0x0112


class EncodedImages(ImageSource):
    """Encoded images of any sizes, one by one.

    Decoding happens in Pillow, which names what is wrong with a damaged image, honours the EXIF
    orientation, decodes large JPEG files at the scale that is needed, and works outside Python's
    lock. Errors of a pipeline are InvalidArgumentErrors that name the image.
    """

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """Where an image is, for messages."""

    @abc.abstractmethod
    def contents(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its label.

        Raises:
          DataError: It cannot be read.
        """

    def read(
        self, requests: tf.data.Dataset, batch_size: int, resolution: int, region: Region
    ) -> tf.data.Dataset:
        """See the base class."""

        def open_image(index: np.ndarray) -> tuple[bytes, np.int32, np.float32, np.float32]:
            contents, label = self.contents(int(index))
            height, width = self._checked(index, image_size, contents)
            return contents, np.int32(label), np.float32(height), np.float32(width)

        def decode_image(index: np.ndarray, contents: bytes, box: np.ndarray) -> np.ndarray:
            return self._checked(index, decode, contents, box, resolution, self.channels)

        def read_one(request: dict[str, Any]) -> dict[str, Any]:
            index = request["index"]
            contents, label, height, width = tf.numpy_function(
                open_image, [index], [tf.string, tf.int32, tf.float32, tf.float32], stateful=False
            )
            uniforms = request.get("uniforms")
            if uniforms is not None:
                uniforms = uniforms[None]
            height, width = tf.reshape(height, [1]), tf.reshape(width, [1])
            box = region.boxes(uniforms, height, width)[0]
            image = tf.numpy_function(
                decode_image, [index, contents, box], tf.uint8, stateful=False
            )
            image = tf.ensure_shape(image, [resolution, resolution, self.channels])
            return {**request, "image": image, "label": tf.ensure_shape(label, [])}

        images = requests.unbatch().map(
            read_one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        # Without a static batch size, the last batch of the requests may be smaller.
        always_full = requests.element_spec["index"].shape[0] is not None
        return images.batch(batch_size, drop_remainder=always_full)

    def decode_whole(self, index: int) -> np.ndarray:
        """uint8 [height, width, channels], one image as it is.

        Raises:
          DataError: It is damaged.
        """
        contents, _ = self.contents(index)
        return self._checked(index, decode, contents, None, None, self.channels)

    def has_colours(self, index: int) -> bool:
        """Whether an image has more than grey.

        Raises:
          DataError: It is damaged.
        """
        return self._checked(index, is_colour, self.contents(index)[0])

    def _checked(self, index: int, function: Callable, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except DataError as error:
            raise DataError(f"The image {self.name(int(index))} {error}") from error
        except Exception as error:  # decoders raise anything when an image is damaged
            raise DataError(
                f"The image {self.name(int(index))} is damaged: {error}. Replace or remove it."
            ) from error


def image_size(contents: bytes) -> tuple[int, int]:
    """(height, width) of an upright encoded image; looks at its header only."""
    from PIL import Image

    with Image.open(io.BytesIO(contents)) as image:
        width, height = image.size
        sideways = image.getexif().get(_EXIF_ORIENTATION) in _SIDEWAYS
    return (width, height) if sideways else (height, width)


def is_colour(contents: bytes) -> bool:
    """Whether an encoded image has more than grey."""
    from PIL import Image

    with Image.open(io.BytesIO(contents)) as image:
        return image.mode not in ("1", "L", "LA", "La") and not image.mode.startswith("I")


def decode(
    contents: bytes, box: np.ndarray | None, resolution: int | None, channels: int
) -> np.ndarray:
    """Decodes, cuts out and resizes bilinearly, averaging where it shrinks.

    Args:
      contents: The encoded image.
      box: float [4] (top, left, height, width) in pixels of the upright image; None for all of it
        at its own size.
      resolution: Height and width of the result, where there is a box.
      channels: 1 or 3 of the result.

    Returns:
      uint8 [resolution, resolution, channels].

    Raises:
      DataError: More than 8 bits per channel.
      Exception: Whatever Pillow raises for damaged images.
    """
    from PIL import Image, ImageOps

    mode = "L" if channels == 1 else "RGB"
    with Image.open(io.BytesIO(contents)) as image:
        if image.mode[0] in "IF":
            raise DataError(f"has pixels of mode {image.mode!r}. Convert it to 8 bits per channel.")
        height, width = image_size(contents)
        if box is not None:  # JPEG can leave out detail that the result would not show
            share = min(box[2], box[3]) / resolution
            image.draft(mode, tuple(math.ceil(side / max(share, 1)) for side in image.size))
        upright = ImageOps.exif_transpose(image)
        if "transparency" in upright.info:
            upright = upright.convert("RGBA")
        upright = upright.convert(mode)
    if box is not None:
        down, right = upright.height / height, upright.width / width
        top, left, box_height, box_width = (float(value) for value in box)
        corners = (
            left * right,
            top * down,
            min((left + box_width) * right, upright.width),
            min((top + box_height) * down, upright.height),
        )
        upright = upright.resize((resolution, resolution), Image.Resampling.BILINEAR, box=corners)
    return np.asarray(upright).reshape(upright.height, upright.width, channels)
