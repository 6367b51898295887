"""Networks of no family: a description, node by node, as the settings."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from qfa_tf.network.checks import from_fields
from qfa_tf.network.errors import InvalidSpaceError
from qfa_tf.network.files import from_fields as network_from_fields
from qfa_tf.network.files import to_fields
from qfa_tf.network.network import Network


@dataclasses.dataclass(frozen=True)
class Described:
    """The space of any network that `NetworkBuilder` can write.

    `Described.of(name, network)` makes it from the description.

    Args:
      name: For people and files.
      description: What `qfa_tf.network.files.to_fields` makes of the network.

    Raises:
      InvalidSpaceError: The description contradicts itself.
    """

    FAMILY: ClassVar[str] = "described"

    name: str
    description: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidSpaceError(f"name must be a non-empty string. Received: {self.name!r}")
        object.__setattr__(self, "_network", network_from_fields(self.description))

    @classmethod
    def of(cls, name: str, network: Network) -> "Described":
        """The space of a network."""
        return cls(name, to_fields(network))

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "Described":
        """Reads what `dataclasses.asdict` gave, as JSON holds it."""
        return from_fields(cls, fields, "A described space")

    def network(self) -> Network:
        """The description of the network."""
        network: Network = self.__dict__["_network"]
        return network

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Input sizes in pixels, ascending."""
        return self.network().resolution.values

    @property
    def weight_bits(self) -> tuple[int, ...]:
        """All weight bit-widths that some site offers a choice of."""
        return self._offered("weight_bits")

    @property
    def activation_bits(self) -> tuple[int, ...]:
        """The same for inputs of sites."""
        return self._offered("activation_bits")

    @property
    def fixed_bits(self) -> Mapping[str, tuple[int, int]]:
        """By site without a choice, (weight bits, activation bits)."""
        network = self.network()
        pairs = {
            site.name: (network.weight_bits(site), network.activation_bits(site))
            for site in network.sites
        }
        return {
            name: (weight[0], activation[0])
            for name, (weight, activation) in pairs.items()
            if len(weight) == len(activation) == 1
        }

    @property
    def input_channels(self) -> int:
        """Channels of the images."""
        return self.network().largest_width(self.network().image.name)

    @property
    def num_classes(self) -> int:
        """Channels of the first output."""
        return self.network().largest_width(self.network().outputs[0])

    def _offered(self, role: str) -> tuple[int, ...]:
        choices = [choice for choice in self.network().choices if choice.role == role]
        elastic = [choice for choice in choices if len(choice.values) > 1] or choices
        return tuple(sorted({value for choice in elastic for value in choice.values}))
