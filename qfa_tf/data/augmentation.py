"""What training does to its images, vectorised over the batch and keyed by (seed, step)."""

import dataclasses

from quantize_configs.errors import InvalidInputError
from quantize_configs.options import check_options, option


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training images. The default is none.

    The QFA recipe is `Augmentation(random_resized_crop=(0.08, 1.0), flip=True,
    brightness=32 / 255, saturation=0.5)`.

    Crops have an aspect ratio of 3/4 to 4/3 and are resized; shifts mirror the edges; factors
    multiply the image, its distance from its mean grey (contrast) and from the grey image
    (saturation, which needs colours).

    Raises:
      InvalidInputError: A value is not allowed.
    """

    random_resized_crop: tuple[float, float] | None = option(
        None,
        "smallest and largest share of the area that a random crop keeps, such as (0.08, 1.0); "
        "None for whole images",
        minimum=0,
        maximum=1,
    )
    flip: bool = option(False, "mirror left and right, half of the images")
    max_shift: int = option(0, "largest shift in pixels, in each direction", minimum=0)
    brightness: float = option(0.0, "factors from 1 - value to 1 + value", minimum=0, maximum=1)
    contrast: float = option(0.0, "the same", minimum=0, maximum=1)
    saturation: float = option(0.0, "the same", minimum=0, maximum=1)

    def __post_init__(self):
        if self.random_resized_crop is not None:
            area = self.random_resized_crop
            if (
                not isinstance(area, tuple | list)
                or len(area) != 2
                or not 0 < area[0] <= area[1] <= 1
            ):
                raise InvalidInputError(
                    "random_resized_crop must be None or (smallest, largest) share of the area, "
                    f"0 < smallest <= largest <= 1, such as (0.08, 1.0). Received: {area!r}."
                )
            object.__setattr__(self, "random_resized_crop", (float(area[0]), float(area[1])))
        if not isinstance(self.flip, bool):
            raise InvalidInputError(f"flip must be True or False. Received: {self.flip!r}.")
        if not isinstance(self.max_shift, int) or isinstance(self.max_shift, bool):
            raise InvalidInputError(
                f"max_shift must be an int, in pixels. Received: {self.max_shift!r}."
            )
        for name in ("brightness", "contrast", "saturation"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InvalidInputError(
                    f"{name} must be a number from 0 to 1. Received: {value!r}."
                )
        check_options(self)

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """Raises ValueError unless images of (height, width, channels) can be changed like this."""
        height, width, channels = image_shape
        if self.saturation and channels != 3:
            raise InvalidInputError(
                f"saturation needs images with 3 channels; these have {channels}. Set it to 0."
            )
        if self.max_shift > min(height, width):
            raise InvalidInputError(
                f"max_shift must be at most the image size {min(height, width)}. "
                f"Received: {self.max_shift}."
            )
