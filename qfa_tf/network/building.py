"""Writing down the description of a network, node by node."""

from collections.abc import Mapping, Sequence
from typing import Any

from qfa_tf.network.choices import BITS_ROLES, ROLES, Choice, Constant, Width
from qfa_tf.network.errors import InvalidSpaceError
from qfa_tf.network.network import Network
from qfa_tf.network.nodes import Convolution, Image, Node, Slot
from qfa_tf.network.validation import check

IMAGE = "image"


class NetworkBuilder:
    """Collects nodes, slots and choices, and names the choices as genomes do.

    Choices are called `<site>.weight_bits`, `<slot>.kernel_size` and so on, and come in the order
    of ROLES.

    Args:
      resolutions: Heights and widths of the input.
      input_channels: Of images.
      weight_bits: Of all sites that are not fixed.
      activation_bits: The same for their inputs.
      fixed_bits: Maps a site to its only (weight bits, activation bits).
    """

    def __init__(
        self,
        resolutions: Sequence[int],
        input_channels: int,
        weight_bits: Sequence[int],
        activation_bits: Sequence[int],
        fixed_bits: Mapping[str, tuple[int, int]],
    ):
        self._bits = (tuple(weight_bits), tuple(activation_bits))
        self._fixed_bits = dict(fixed_bits)
        self._choices: list[Choice] = []
        self._slots: list[Slot] = []
        self._nodes: list[Node] = []
        self._slot: str | None = None
        self._row = ""
        self.choice("resolution", tuple(resolutions), "resolution")
        self.add(Image(name=IMAGE, width=Constant(input_channels)))

    def choice(self, name: str, values: Sequence[int], role: str) -> str:
        """Adds a choice, of the slot that is being written if there is one; returns its name."""
        slot = None if role in ("depth", "resolution") else self._slot
        self._choices.append(Choice(name, tuple(values), role, slot))
        return name

    def row(self, name: str) -> None:
        """Begins another part of the network; for people."""
        self._row = name

    def begin_slot(self, name: str) -> None:
        """Begins a slot; nodes and choices belong to it until `end_slot`."""
        self._slot = name

    def end_slot(self, depth: str, position: int, source: str, output: str) -> str:
        """Ends a slot; see `Slot`. Returns `output`."""
        if self._slot is None:
            raise RuntimeError("No slot was begun.")
        self._slots.append(Slot(self._slot, depth, position, source, output))
        self._slot = None
        return output

    def add(self, node: Node) -> str:
        """Adds a node; returns its name."""
        self._nodes.append(node)
        return node.name

    def node(
        self, node_type: type[Node], name: str, /, *inputs: str, label: str = "", **options: Any
    ) -> str:
        """Adds a node of a type and returns its name, `<slot>.<name>` inside a slot."""
        label, name = label or name, self._full(name)
        return self.add(
            node_type(
                name=name, label=label, inputs=inputs, slot=self._slot, row=self._row, **options
            )
        )

    def site(
        self, name: str, source: str, kind: str, width: Width | None = None, **options: Any
    ) -> str:
        """Adds a convolution with its choices of bits; see `node`."""
        full = self._full(name)
        fixed = self._fixed_bits.get(full)
        for role, values, only in zip(BITS_ROLES, self._bits, fixed or (None, None), strict=True):
            self.choice(f"{full}.{role}", values if only is None else (only,), role)
        bits = {role: f"{full}.{role}" for role in BITS_ROLES}
        return self.node(Convolution, name, source, kind=kind, width=width, **bits, **options)

    def _full(self, name: str) -> str:
        return name if self._slot is None else f"{self._slot}.{name}"

    def build(self, *outputs: str) -> Network:
        """Returns the checked network.

        Raises:
          InvalidSpaceError: It contradicts itself, or a site of `fixed_bits` does not exist.
        """
        ranks = {role: min(rank, ROLES.index(BITS_ROLES[0])) for rank, role in enumerate(ROLES)}
        choices = sorted(self._choices, key=lambda choice: ranks.get(choice.role, 0))
        network = Network(tuple(choices), tuple(self._slots), tuple(self._nodes), outputs)
        unknown = sorted(set(self._fixed_bits) - {site.name for site in network.sites})
        if unknown:
            raise InvalidSpaceError(
                f"fixed_bits names sites that this space does not have: {unknown}. "
                f"Its sites: {[site.name for site in network.sites]}"
            )
        return check(network)
