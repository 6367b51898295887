"""What the settings of the families of this package share: fields, checks, files."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from qfa_tf.network.building import NetworkBuilder
from qfa_tf.network.checks import check_common_fields, from_fields, require_int


@dataclasses.dataclass(frozen=True, kw_only=True)
class FamilySettings:
    """Fields that every family has, given by name.

    Args:
      name: For people and files.
      resolutions: Input sizes in pixels, ascending.
      weight_bits: Weight bit-widths of all sites that are not fixed, out of 2, 3, 4, 8, ascending.
      activation_bits: The same for the input of each site.
      fixed_bits: Maps a site to its only (weight bits, activation bits); 32 stands for float.
      input_channels: Channels of the images.
      num_classes: Outputs of the classifier.
      width_divisor: Hidden widths are multiples of it.

    Raises:
      InvalidSpaceError: A value is not allowed.
    """

    FAMILY: ClassVar[str]

    name: str
    resolutions: tuple[int, ...]
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    fixed_bits: Mapping[str, tuple[int, int]]
    input_channels: int
    num_classes: int
    width_divisor: int = 8

    def __post_init__(self) -> None:
        check_common_fields(self)
        require_int("width_divisor", self.width_divisor)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """Reads what `dataclasses.asdict` gave, as JSON holds it."""
        return from_fields(cls, fields, f"A {cls.__name__} space")

    def builder(self) -> NetworkBuilder:
        """What the description of the network is written with."""
        return NetworkBuilder(
            self.resolutions,
            self.input_channels,
            self.weight_bits,
            self.activation_bits,
            self.fixed_bits,
        )
