"""How a model is to be converted."""

import dataclasses

from quantize_configs import weight_containers

TENSOR_TYPES = ("float32", "int8")


@dataclasses.dataclass(frozen=True)
class ConversionOptions:
    """Choices of a conversion.

    Attributes:
      weight_container: "auto" or "packed" store 4- and 2-bit weights of 1x1 convolutions and
        dense layers packed; "int8" stores every weight in a byte.
      input_type: "float32" (the model quantizes its input) or "int8" (the caller does).
      output_type: "float32" or "int8".

    Raises:
      ValueError: A value is not among these.
    """

    weight_container: str = "auto"
    input_type: str = "float32"
    output_type: str = "float32"

    def __post_init__(self):
        allowed = {
            "weight_container": weight_containers.POLICIES,
            "input_type": TENSOR_TYPES,
            "output_type": TENSOR_TYPES,
        }
        for field, values in allowed.items():
            if getattr(self, field) not in values:
                raise ValueError(
                    f"{field} must be one of {values}. Received: {getattr(self, field)!r}."
                )
