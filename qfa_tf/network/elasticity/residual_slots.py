"""Residual branches that can be left out, because their shortcut is the identity."""

import dataclasses
from collections.abc import Sequence

from qfa_tf.network.network import Network
from qfa_tf.network.nodes import Convolution, Function, Node, Sum


@dataclasses.dataclass(frozen=True)
class ResidualSlot:
    """A branch with the sum that ends it.

    Attributes:
      name: That of the sum.
      source: The node that the branch and the shortcut read.
      output: The sum, or the activation function behind it.
      members: All nodes of the branch, the sum and the function, in order.
    """

    name: str
    source: str
    output: str
    members: tuple[str, ...]


def residual_slots(network: Network) -> list[ResidualSlot]:
    """The branches of a network, in order; of branches within branches the inner ones."""
    found: list[ResidualSlot] = []
    taken: set[str] = set()
    for node in network.nodes:
        if not isinstance(node, Sum) or len(node.inputs) != 2:
            continue
        for source, end in (node.inputs, node.inputs[::-1]):
            slot = _slot(network, node, source, end)
            if slot is not None and taken.isdisjoint(slot.members):
                found.append(slot)
                taken.update(slot.members)
                break
    return found


def in_stages(slots: Sequence[ResidualSlot]) -> list[list[ResidualSlot]]:
    """The slots by stages: each reads what the one before it gives."""
    stages: list[list[ResidualSlot]] = []
    for slot in slots:
        if stages and stages[-1][-1].output == slot.source:
            stages[-1].append(slot)
        else:
            stages.append([slot])
    return stages


def side_by_side(network: Network, slots: Sequence[ResidualSlot]) -> list[Node]:
    """The nodes in topological order, those of a slot side by side where its output stood."""
    slot_of = {name: slot for slot in slots for name in slot.members}
    ordered: list[Node] = []
    for node in network.nodes:
        slot = slot_of.get(node.name)
        if slot is None:
            ordered.append(node)
        elif node.name == slot.output:
            ordered += [network.node(name) for name in slot.members]
    return ordered


def _slot(network: Network, total: Sum, source: str, end: str) -> ResidualSlot | None:
    """The slot of a sum of `source` and what comes of it, `end`; None where it is none."""
    branch = _between(network, source, end)
    if branch is None:
        return None
    output = total.name
    after = network.consumers(output)
    is_alone = output not in network.outputs and len(after) == 1
    if is_alone and _changes_nothing(network, after[0], source):
        output = after[0].name
    names = {*branch, total.name, output}
    inner = names - {output}
    if not inner.isdisjoint(network.outputs):
        return None
    if any(reader.name not in names for name in inner for reader in network.consumers(name)):
        return None
    members = tuple(node.name for node in network.nodes if node.name in names)
    if not any(isinstance(network.node(name), Convolution) for name in branch):
        return None
    return ResidualSlot(total.name, source, output, members)


def _changes_nothing(network: Network, node: Node, source: str) -> bool:
    """Whether a node would give `source` as it is: the ReLU of what is not negative."""
    is_relu = isinstance(node, Function) and node.activation == "relu"
    return is_relu and network.is_nonnegative(source)


def _between(network: Network, source: str, end: str) -> set[str] | None:
    """The nodes from `source`, without it, to `end`; None where something else leads to `end`."""
    found: set[str] = set()
    open_names = [end]
    while open_names:
        name = open_names.pop()
        if name == source or name in found:
            continue
        inputs = network.node(name).inputs
        if not inputs:
            return None
        found.add(name)
        open_names += inputs
    return found or None
