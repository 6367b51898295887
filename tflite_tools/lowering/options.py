"""How a model is to be converted."""

import dataclasses
import math

from quantize_configs import weight_containers
from quantize_configs.errors import InvalidInputError
from quantize_configs.kernels.registry import DEFAULT, KERNELS, check_container

INPUT_TYPES = ("float32", "int8", "uint8")
OUTPUT_TYPES = ("float32", "int8", "uint8")


@dataclasses.dataclass(frozen=True)
class ConversionOptions:
    """Choices of a conversion.

    Attributes:
      weight_container: "auto" or "packed" store 4- and 2-bit weights of 1x1 convolutions and
        dense layers packed; "int8" stores every weight in a byte.
      input_type: "float32" (the model quantizes its input), "uint8" (bytes of an image) or "int8":
        bytes minus 128 where the model begins with a Rescaling or `pixel_range` is given, otherwise
        codes of the grid of the first layer, which the caller computes.
      pixel_range: What the bytes 0 and 255 of an image are at the input of the model, for example
        (0.0, 1.0) or (-1.0, 1.0); without one, a model that begins with a Rescaling takes the bytes
        themselves.
      output_type: "float32", "int8" (codes of the last layer) or "uint8" (the same plus 128).
      runtime: Kernels that the file is made for: "xnnpack", "cpu", "builtin", "reference" or
        "micro".

    Raises:
      InvalidInputError: A value is not among these.
    """

    weight_container: str = "auto"
    input_type: str = "float32"
    output_type: str = "float32"
    pixel_range: tuple[float, float] | None = None
    runtime: str = DEFAULT

    def __post_init__(self):
        allowed = {
            "weight_container": weight_containers.POLICIES,
            "input_type": INPUT_TYPES,
            "output_type": OUTPUT_TYPES,
            "runtime": tuple(KERNELS),
        }
        for field, values in allowed.items():
            if getattr(self, field) not in values:
                raise InvalidInputError(
                    f"{field} must be one of {values}. Received: {getattr(self, field)!r}."
                )
        check_container(self.runtime, self.weight_container)
        if self.pixel_range is not None:
            object.__setattr__(self, "pixel_range", _checked_range(self.pixel_range))

    @property
    def pixels(self) -> tuple[float, float] | None:
        """(scale, offset) of the bytes of an image, None without a pixel range."""
        if self.pixel_range is None or self.input_type == "float32":
            return None
        low, high = self.pixel_range
        return (high - low) / 255.0, low


def _checked_range(given) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in given)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidInputError(
            "pixel_range must be two numbers (low, high), low below high: the values of the bytes "
            f"0 and 255. Received: {given!r}."
        )
    return low, high
