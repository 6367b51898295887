"""An elastic network as data: nodes, slots and choices, with look-ups; NumPy only."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping

from qfa_tf.network.choices import Choice, Values, Width, distinct
from qfa_tf.network.nodes import Convolution, Image, Node, Slot, Sum


@dataclasses.dataclass(frozen=True)
class Network:
    """A network and everything that a genome may choose in it.

    `qfa_tf.network.validation.check` says what is wrong with one that contradicts itself.

    Args:
      choices: In the order of a genome; those with one value are no genes.
      slots: Parts that a genome may leave out, stage by stage.
      nodes: In topological order; the nodes of a slot side by side.
      outputs: Names of the nodes whose results are those of the network.
    """

    choices: tuple[Choice, ...]
    slots: tuple[Slot, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    # Look-ups.

    @functools.cached_property
    def _node_of_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @functools.cached_property
    def _choice_of_name(self) -> dict[str, Choice]:
        return {choice.name: choice for choice in self.choices}

    @functools.cached_property
    def _slot_of_name(self) -> dict[str, Slot]:
        return {slot.name: slot for slot in self.slots}

    def node(self, name: str) -> Node:
        """The node called `name`; a KeyError where there is none."""
        return self._node_of_name[name]

    def choice(self, name: str) -> Choice:
        """The choice called `name`; a KeyError where there is none."""
        return self._choice_of_name[name]

    def slot(self, name: str) -> Slot:
        """The slot called `name`; a KeyError where there is none."""
        return self._slot_of_name[name]

    def producers(self, node: Node) -> tuple[Node, ...]:
        """The nodes that `node` reads."""
        return tuple(self._node_of_name[name] for name in node.inputs)

    @functools.cached_property
    def _consumers(self) -> dict[str, tuple[Node, ...]]:
        found: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read the node called `name`, with all slots in place."""
        return self._consumers[name]

    @functools.cached_property
    def sites(self) -> tuple[Convolution, ...]:
        """The nodes with quantizers for weights and input."""
        return tuple(node for node in self.nodes if isinstance(node, Convolution))

    @functools.cached_property
    def image(self) -> Image:
        """The input."""
        return next(node for node in self.nodes if isinstance(node, Image))

    @functools.cached_property
    def resolution(self) -> Choice:
        """The choice of height and width of the input."""
        return next(choice for choice in self.choices if choice.role == "resolution")

    # Slots.

    @functools.cached_property
    def stages(self) -> tuple[tuple[Slot, ...], ...]:
        """The slots by the depth that decides about them, in order."""
        by_depth: dict[str, list[Slot]] = {}
        for slot in self.slots:
            by_depth.setdefault(slot.depth, []).append(slot)
        return tuple(tuple(slots) for slots in by_depth.values())

    def is_optional(self, slot: str | None) -> bool:
        """Whether a genome can leave a slot out; False outside of all."""
        if slot is None:
            return False
        own = self._slot_of_name[slot]
        return own.position >= self._choice_of_name[own.depth].values[0]

    def is_present(self, slot: str | None, chosen: Values) -> bool:
        """Whether a slot is there; True outside of all."""
        if slot is None:
            return True
        own = self._slot_of_name[slot]
        return chosen[own.depth] > own.position

    def members(self, slot: str) -> tuple[Node, ...]:
        """The nodes of a slot."""
        return tuple(node for node in self.nodes if node.slot == slot)

    def ends_branch(self, name: str) -> bool:
        """Whether a sum adds the output of a node to what the slot of the node reads."""
        slot = self.node(name).slot
        return slot is not None and any(
            isinstance(one, Sum) and self.slot(slot).source in one.inputs
            for one in self.consumers(name)
        )

    def sections(self) -> Iterator[tuple[str | None, tuple[Node, ...]]]:
        """The nodes in order, cut where the slot changes."""
        for slot, nodes in itertools.groupby(self.nodes, lambda node: node.slot):
            yield slot, tuple(nodes)

    @functools.cached_property
    def choices_of_slot(self) -> dict[str, tuple[Choice, ...]]:
        """The choices that are void without a slot, in order."""
        return {
            slot.name: tuple(choice for choice in self.choices if choice.slot == slot.name)
            for slot in self.slots
        }

    # Shapes. A slot that is left out changes no width and no size behind it.

    @functools.cached_property
    def _widths(self) -> dict[str, Width]:
        widths: dict[str, Width] = {}
        for node in self.nodes:
            widths[node.name] = node.output_width([widths[name] for name in node.inputs])
        return widths

    def width(self, name: str) -> Width:
        """Output channels of a node."""
        return self._widths[name]

    def largest_width(self, name: str) -> int:
        """Most output channels of a node."""
        return largest(self, self._widths[name])

    @functools.cached_property
    def _nonnegative(self) -> dict[str, bool]:
        return self._fold(lambda node, inputs: node.is_nonnegative(inputs))

    def is_nonnegative(self, name: str) -> bool:
        """Whether no value of the output of a node is negative, whatever is chosen."""
        return self._nonnegative[name]

    @functools.cached_property
    def _vectors(self) -> dict[str, bool]:
        return self._fold(lambda node, inputs: node.is_vector(inputs))

    def is_vector(self, name: str) -> bool:
        """Whether the output of a node has no height and width."""
        return self._vectors[name]

    def _fold(self, function: Callable[[Node, list[bool]], bool]) -> dict[str, bool]:
        values: dict[str, bool] = {}
        for node in self.nodes:
            values[node.name] = function(node, [values[name] for name in node.inputs])
        return values

    @functools.cached_property
    def _sizes(self) -> dict[int, dict[str, int]]:
        return {}

    def size(self, name: str, resolution: int) -> int:
        """Height and width of the output of a node at an input of `resolution` pixels."""
        if resolution not in self._sizes:
            sizes: dict[str, int] = {}
            for node in self.nodes:
                first = sizes[node.inputs[0]] if node.inputs else resolution
                sizes[node.name] = node.output_size(first)
            self._sizes[resolution] = sizes
        return self._sizes[resolution][name]

    def shape_choices(self, node: Node) -> tuple[str, ...]:
        """Names of the choices of the widths and the kernel size of a node, its inputs included."""
        inputs = [name for source in node.inputs for name in self._widths[source].choices]
        return distinct(*self._widths[node.name].choices, *node.shape_choices, *inputs)

    def kernel_sizes(self, node: Convolution) -> tuple[int, ...]:
        """Kernel sizes that a site may have, ascending."""
        if isinstance(node.kernel_size, int):
            return (node.kernel_size,)
        return self._choice_of_name[node.kernel_size].values

    def weight_bits(self, node: Convolution) -> tuple[int, ...]:
        """Bits that the weights of a site may have."""
        return self._choice_of_name[node.weight_bits].values

    def activation_bits(self, node: Convolution) -> tuple[int, ...]:
        """Bits that the input of a site may have."""
        return self._choice_of_name[node.activation_bits].values

    @functools.cached_property
    def ends(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """The smallest and the largest value of every choice, by name."""
        smallest, largest = (
            {choice.name: choice.values[end] for choice in self.choices} for end in (0, -1)
        )
        return smallest, largest

    def shares_input(self, node: Node) -> bool:
        """Whether another node of the same slot reads the first input of `node`, too."""
        readers = [one for one in self.consumers(node.inputs[0]) if one.slot == node.slot]
        return len(readers) > 1


def kernel_size(node: Convolution, chosen: Values) -> int:
    """The chosen kernel size of a site."""
    return node.kernel_size if isinstance(node.kernel_size, int) else chosen[node.kernel_size]


def largest(network: Network, width: Width) -> int:
    """The largest value of a width: that of its largest choices, in which every width rises."""
    return width.value(network.ends[1])
