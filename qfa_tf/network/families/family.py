"""What the settings of every family of networks offer."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from qfa_tf.network.network import Network


@runtime_checkable
class Family(Protocol):
    """Settings of one family: a frozen dataclass that becomes the description of a network.

    Attributes:
      FAMILY: Name of the family, by which files know it.
      name: Of the space, for people and files.
      resolutions: Input sizes in pixels, ascending.
      weight_bits: Bit-widths that sites which are not fixed offer for their weights.
      activation_bits: The same for their inputs.
      fixed_bits: Maps a site to its only (weight bits, activation bits); 32 stands for float.
      input_channels: Channels of the images.
      num_classes: Outputs of the classifier.
    """

    FAMILY: ClassVar[str]

    @property
    def name(self) -> str:
        """For people and files."""

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Input sizes in pixels, ascending."""

    @property
    def weight_bits(self) -> tuple[int, ...]:
        """Of sites that are not fixed."""

    @property
    def activation_bits(self) -> tuple[int, ...]:
        """Of the inputs of sites that are not fixed."""

    @property
    def fixed_bits(self) -> Mapping[str, tuple[int, int]]:
        """By site, (weight bits, activation bits)."""

    @property
    def input_channels(self) -> int:
        """Channels of the images."""

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier."""

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "Family":
        """Reads what `dataclasses.asdict` gave, as JSON holds it."""

    def network(self) -> Network:
        """The description of the network."""
