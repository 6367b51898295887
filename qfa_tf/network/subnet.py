"""One subnet of an elastic network: its nodes with everything chosen."""

import dataclasses
from collections.abc import Iterator

from qfa_tf.network.choices import Values, parts_of
from qfa_tf.network.network import Network, kernel_size
from qfa_tf.network.nodes import Convolution, Node, SqueezeExcite


@dataclasses.dataclass(frozen=True)
class SubnetNode:
    """A node that a subnet has.

    Attributes:
      node: Its description.
      inputs: Names of the nodes whose results it reads; those of slots that are left out are
        replaced by what these read.
      input_widths: Channels of each input.
      input_parts: Channels of each of the tensors that were concatenated to the first input; those
        of the first input where there are none.
      width: Output channels.
      inner_width: Of a squeeze-excite: channels between its convolutions; else 0.
      input_size: Height and width of the first input.
      size: Height and width of the output.
      kernel_size: Of a site; else 1.
      bits: (weight bits, activation bits) of a site; else None.
    """

    node: Node
    inputs: tuple[str, ...]
    input_widths: tuple[int, ...]
    input_parts: tuple[int, ...]
    width: int
    inner_width: int
    input_size: int
    size: int
    kernel_size: int
    bits: tuple[int, int] | None


@dataclasses.dataclass(frozen=True)
class Subnet:
    """The nodes of one subnet.

    Attributes:
      nodes: Those that are there, in topological order.
      outputs: Names of the nodes whose results are those of the network.
      resolution: Height and width of the input.
    """

    nodes: tuple[SubnetNode, ...]
    outputs: tuple[str, ...]
    resolution: int

    def consumers(self, name: str) -> tuple[SubnetNode, ...]:
        """The nodes that read the node called `name`."""
        return tuple(one for one in self.nodes if name in one.inputs)


def subnet(network: Network, chosen: Values) -> Subnet:
    """Returns what a network is when everything is chosen."""
    resolution = chosen[network.resolution.name]
    stands_for: dict[str, str] = {}
    for slot in network.slots:
        if not network.is_present(slot.name, chosen):
            stands_for[slot.output] = stands_for.get(slot.source, slot.source)

    def nodes() -> Iterator[SubnetNode]:
        for node in network.nodes:
            if network.is_present(node.slot, chosen):
                yield _chosen_node(network, node, chosen, resolution, stands_for)

    outputs = tuple(stands_for.get(name, name) for name in network.outputs)
    return Subnet(tuple(nodes()), outputs, resolution)


def _chosen_node(
    network: Network, node: Node, chosen: Values, resolution: int, stands_for: dict[str, str]
) -> SubnetNode:
    inputs = tuple(stands_for.get(name, name) for name in node.inputs)
    site = node if isinstance(node, Convolution) else None
    size = network.size(node.name, resolution)
    return SubnetNode(
        node=node,
        inputs=inputs,
        input_widths=tuple(network.width(name).value(chosen) for name in inputs),
        input_parts=tuple(
            part.value(chosen) for name in inputs[:1] for part in parts_of(network.width(name))
        ),
        width=network.width(node.name).value(chosen),
        inner_width=node.width.value(chosen) if isinstance(node, SqueezeExcite) else 0,
        input_size=network.size(node.inputs[0], resolution) if node.inputs else size,
        size=size,
        kernel_size=1 if site is None else kernel_size(site, chosen),
        bits=None if site is None else (chosen[site.weight_bits], chosen[site.activation_bits]),
    )
