"""What training does to its images, vectorised over the batch and keyed by (seed, step)."""

import dataclasses

from quantize_configs.errors import InvalidInputError


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training images. The default is none.

    The QFA recipe is `Augmentation(random_resized_crop=(0.08, 1.0), flip=True,
    brightness=32 / 255, saturation=0.5)`.

    Attributes:
      random_resized_crop: Smallest and largest share of the area of the image that a random crop
        of aspect ratio 3/4 to 4/3 keeps, before it is resized; None for the whole image.
      flip: Mirror left and right, half of the images.
      max_shift: Largest shift in pixels of the resized image, in each direction, edges mirrored.
      brightness: Images are multiplied by a factor from [1 - brightness, 1 + brightness].
      contrast: The same for the distance from the mean grey of the image.
      saturation: The same for the distance from the grey image; needs colours.

    Raises:
      InvalidInputError: A value is not allowed.
    """

    random_resized_crop: tuple[float, float] | None = None
    flip: bool = False
    max_shift: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

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
        if self.max_shift < 0:
            raise InvalidInputError(f"max_shift must be at least 0. Received: {self.max_shift!r}.")
        for name in ("brightness", "contrast", "saturation"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InvalidInputError(
                    f"{name} must be a number from 0 to 1. Received: {value!r}."
                )

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
