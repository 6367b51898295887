"""Channels that must be kept or left out together.

Every tensor is a row of parts, each the channels of one group. Sums, products and depthwise
convolutions tie the parts of what they read together; concatenations put rows side by side. It is
the closure that DepGraph (https://arxiv.org/abs/2301.12900) takes over index maps of layers.
"""

import dataclasses

from qfa_tf.network.network import Network
from qfa_tf.network.nodes import (
    Concatenation,
    Convolution,
    Flatten,
    Image,
    Node,
    Product,
    Sum,
)


@dataclasses.dataclass
class ChannelGroup:
    """Channels that share one width.

    Attributes:
      name: That of the first node that makes them.
      channels: How many there are.
      makers: The nodes whose outputs they are first, such as convolutions.
      nodes: All nodes that have them in their output.
      fixed: Why there can be no choice of them; empty where there can be one.
      is_residual: Whether a sum ties what several nodes make.
    """

    name: str
    channels: int
    makers: list[str] = dataclasses.field(default_factory=list)
    nodes: list[str] = dataclasses.field(default_factory=list)
    fixed: str = ""
    is_residual: bool = False


class ChannelGroups:
    """The channel groups of a network whose widths are all fixed.

    Args:
      network: To look at.
    """

    def __init__(self, network: Network):
        self._network = network
        self._parts: dict[str, list[int]] = {}
        self._members: list[ChannelGroup] = []
        self._parent: list[int] = []
        for node in network.nodes:
            self._parts[node.name] = self._parts_of(node)
        for name in network.outputs:
            self._fix(self._parts[name], f"{name!r} is an output of the network")
        for node in network.nodes:
            if isinstance(node, Concatenation):
                self._check_twice(node)

    @property
    def groups(self) -> list[ChannelGroup]:
        """All groups, in the order of the network."""
        roots = dict.fromkeys(self._root(index) for index in range(len(self._members)))
        return [self._members[root] for root in roots]

    def parts(self, name: str) -> list[ChannelGroup]:
        """The groups side by side in the output of a node."""
        return [self._members[self._root(index)] for index in self._parts[name]]

    def _parts_of(self, node: Node) -> list[int]:
        inputs = [self._parts[name] for name in node.inputs]
        if isinstance(node, Image):
            parts = [self._new(node)]
            self._fix(parts, f"{node.name!r} is the image")
        elif isinstance(node, Convolution) and node.width is not None:
            parts = [self._new(node)]
            if node.groups > 1:
                self._fix(parts + inputs[0], f"{node.name!r} convolves in groups")
        elif isinstance(node, Concatenation):
            parts = [part for row in inputs for part in row]
        elif isinstance(node, Sum | Product):
            parts = self._tied(node, inputs)
        elif isinstance(node, Flatten) and node.positions > 1:
            self._fix(inputs[0], f"{node.name!r} mixes channels and positions")
            parts = [self._new(node)]
            self._fix(parts, f"{node.name!r} mixes channels and positions")
        else:
            parts = inputs[0]
        for part in parts:
            group = self._members[self._root(part)]
            group.nodes.append(node.name)
        return parts

    def _tied(self, node: Node, rows: list[list[int]]) -> list[int]:
        first = rows[0]
        sizes = {tuple(self._members[part].channels for part in row) for row in rows}
        if len(sizes) > 1:
            reason = f"{node.name!r} joins tensors that are put together in different ways"
            self._fix([part for row in rows for part in row], reason)
            return first
        for row in rows[1:]:
            for one, other in zip(first, row, strict=True):
                is_tie = self._root(one) != self._root(other)
                self._unite(one, other)
                self._members[self._root(one)].is_residual |= is_tie and isinstance(node, Sum)
        return first

    def _check_twice(self, node: Concatenation) -> None:
        roots = [self._root(part) for part in self._parts[node.name]]
        twice = [root for root in roots if roots.count(root) > 1]
        self._fix(twice, f"{node.name!r} has them twice")

    def _new(self, node: Node) -> int:
        channels = self._network.largest_width(node.name)
        self._members.append(ChannelGroup(node.name, channels, makers=[node.name]))
        self._parent.append(len(self._parent))
        return len(self._parent) - 1

    def _root(self, index: int) -> int:
        while self._parent[index] != index:
            index = self._parent[index]
        return index

    def _unite(self, one: int, other: int) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        if first == second:
            return
        self._parent[second] = first
        kept, gone = self._members[first], self._members[second]
        kept.makers += gone.makers
        kept.nodes += gone.nodes
        kept.fixed = kept.fixed or gone.fixed
        kept.is_residual |= gone.is_residual

    def _fix(self, parts: list[int], reason: str) -> None:
        for part in parts:
            group = self._members[self._root(part)]
            group.fixed = group.fixed or reason
