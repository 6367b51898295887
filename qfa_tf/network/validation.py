"""What a description of a network must fulfil."""

from collections.abc import Sequence
from typing import Any

from qfa_tf.network.choices import ROLES, parts_of
from qfa_tf.network.errors import InvalidSpaceError
from qfa_tf.network.network import Network
from qfa_tf.network.nodes import (
    ACTIVATIONS,
    FUNCTIONS,
    KINDS,
    Concatenation,
    Convolution,
    Flatten,
    Function,
    Image,
    Node,
    Product,
    SqueezeExcite,
    Sum,
)


def check(network: Network) -> Network:
    """Returns `network`.

    Raises:
      InvalidSpaceError: It contradicts itself; the sentence names the node, slot or choice.
    """
    _check_names(network)
    _check_choices(network)
    seen: set[str] = set()
    for node in network.nodes:
        for name in node.inputs:
            _require(name in seen, f"Node {node.name!r} reads {name!r}, which is no node before it")
        seen.add(node.name)
    images = [node.name for node in network.nodes if isinstance(node, Image)]
    _require(len(images) == 1, f"A network has one Image. Received: {images}")
    for name in network.outputs:
        _require(name in seen, f"The output {name!r} is no node")
    _require(bool(network.outputs), "A network has at least one output")
    for node in network.nodes:
        _check_node(network, node)
    for slot in network.slots:
        _check_slot(network, slot)
    return network


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise InvalidSpaceError(f"{sentence}.")


def _check_names(network: Network) -> None:
    parts: tuple[tuple[str, Sequence[Any]], ...] = (
        ("nodes", network.nodes),
        ("slots", network.slots),
        ("choices", network.choices),
    )
    for what, things in parts:
        names = [thing.name for thing in things]
        twice = sorted({name for name in names if names.count(name) > 1})
        _require(not twice, f"The {what} of a network have names of their own. Twice: {twice}")


def _check_choices(network: Network) -> None:
    slots = {slot.name for slot in network.slots}
    for choice in network.choices:
        _require(
            choice.role in ROLES,
            f"The role of choice {choice.name!r} must be one of {list(ROLES)}. "
            f"Received: {choice.role!r}",
        )
        _require(
            bool(choice.values) and list(choice.values) == sorted(set(choice.values)),
            f"The values of choice {choice.name!r} must be distinct and ascending, at least one. "
            f"Received: {choice.values}",
        )
        _require(
            choice.slot is None or choice.slot in slots,
            f"Choice {choice.name!r} belongs to the slot {choice.slot!r}, which does not exist",
        )
    count = sum(choice.role == "resolution" for choice in network.choices)
    _require(count == 1, f"A network has one choice of the resolution. Received: {count}")


def _check_node(network: Network, node: Node) -> None:
    named = {choice.name: choice for choice in network.choices}
    shapes: tuple[str, ...] = ("kernel_size", "expand_ratio", "width")
    wanted = dict.fromkeys(node.shape_choices, shapes)
    if isinstance(node, Convolution):
        _require(
            node.kind in KINDS,
            f"The kind of {node.name!r} must be one of {list(KINDS)}. Received: {node.kind!r}",
        )
        _require(
            (node.width is None) == (node.kind == "depthwise"),
            f"{node.name!r} needs a width unless it is depthwise, which keeps that of its input",
        )
        _require(
            isinstance(node.kernel_size, int) or node.kind == "depthwise",
            f"Only depthwise convolutions have kernels of several sizes, {node.name!r} is "
            f"{node.kind!r}",
        )
        _require(
            node.kernel_width is None
            or (node.kind, node.padding, node.stride) == ("convolution", "same", 1),
            f"{node.name!r} has a kernel that is not square and needs the kind 'convolution', the "
            "padding 'same' and the stride 1",
        )
        _require(
            node.dilation == 1 or (node.stride == 1 and isinstance(node.kernel_size, int)),
            f"{node.name!r} has the dilation {node.dilation}, and needs the stride 1 and one "
            "kernel size",
        )
        rigid = not network.width(node.name).choices and not network.width(node.inputs[0]).choices
        _require(
            node.groups == 1 or (node.kind == "convolution" and rigid),
            f"{node.name!r} has {node.groups} groups, and needs the kind 'convolution' and widths "
            "without a choice",
        )
        wanted[node.weight_bits] = ("weight_bits",)
        wanted[node.activation_bits] = ("activation_bits",)
    if isinstance(node, Convolution | Function):
        allowed = ACTIVATIONS if isinstance(node, Convolution) else FUNCTIONS
        _require(
            node.activation in allowed,
            f"The activation of {node.name!r} must be one of {list(allowed)}. "
            f"Received: {node.activation!r}",
        )
    if isinstance(node, Flatten):
        _check_flatten(network, node)
    for name, roles in wanted.items():
        _require(
            name in named and named[name].role in roles,
            f"Node {node.name!r} needs a choice {name!r} with a role of {list(roles)}",
        )
        owner = named[name].slot
        _require(
            owner in (None, node.slot) or not network.is_optional(owner),
            f"Choice {name!r} is void without the slot {owner!r}, and node {node.name!r} outside "
            "of it needs it",
        )
    if node.inputs and len(parts_of(network.width(node.inputs[0]))) > 1:
        is_elastic = bool(network.width(node.inputs[0]).choices)
        slices = isinstance(node, SqueezeExcite) or (
            isinstance(node, Convolution) and isinstance(node.kernel_size, str)
        )
        _require(
            not (is_elastic and slices),
            f"{node.name!r} reads a concatenation of tensors with a choice of widths, which "
            "squeeze-excite and kernels of several sizes cannot",
        )
    several = isinstance(node, Sum | Product | Concatenation)
    _require(
        isinstance(node, Image) or (len(node.inputs) > 1) == several,
        f"A {type(node).__name__} reads {'several nodes' if several else 'one node'}. "
        f"{node.name!r} reads {list(node.inputs)}",
    )
    if isinstance(node, Sum | Product):
        is_broadcast = isinstance(node, Product) and not network.is_vector(node.inputs[0])
        _check_equal_shapes(network, node.inputs, f"{node.name!r} takes", is_broadcast)


def _check_flatten(network: Network, node: Flatten) -> None:
    found = {network.size(node.inputs[0], value) ** 2 for value in network.resolution.values}
    rigid = not network.width(node.inputs[0]).choices
    _require(
        found == {node.positions} and (rigid or node.positions == 1),
        f"{node.name!r} makes a vector of a map of {node.positions} positions and needs one of "
        f"that size and without a choice of widths. It reads maps of {sorted(found)} positions",
    )


def _check_slot(network: Network, slot: Any) -> None:
    members = network.members(slot.name)
    inside = {node.name for node in members}
    depth = next((choice for choice in network.choices if choice.name == slot.depth), None)
    _require(
        depth is not None and depth.role == "depth" and 0 <= slot.position < depth.values[-1],
        f"Slot {slot.name!r} needs a choice {slot.depth!r} of a depth that can exceed its position "
        f"{slot.position}",
    )
    _require(bool(members), f"Slot {slot.name!r} has no nodes")
    places = [i for i, node in enumerate(network.nodes) if node.slot == slot.name]
    _require(
        places == list(range(places[0], places[-1] + 1)),
        f"The nodes of slot {slot.name!r} must stand side by side",
    )
    for node in network.nodes:
        foreign = [name for name in node.inputs if (name in inside) != (node.slot == slot.name)]
        allowed = slot.source if node.slot == slot.name else slot.output
        wrong = [name for name in foreign if name != allowed]
        _require(
            not wrong,
            f"Slot {slot.name!r} is entered by {slot.source!r} and left by {slot.output!r} alone; "
            f"node {node.name!r} reads {wrong}",
        )
    if network.is_optional(slot.name):
        pair = (slot.source, slot.output)
        _check_equal_shapes(network, pair, f"Slot {slot.name!r}, which can be left out, connects")


def _check_equal_shapes(
    network: Network, names: Sequence[str], what: str, is_broadcast: bool = False
) -> None:
    ends = network.ends
    widths = {tuple(network.width(name).value(end) for end in ends) for name in names}
    resolutions = network.resolution.values
    maps = [name for name in names if not (is_broadcast and network.is_vector(name))]
    sizes = {tuple(network.size(name, value) for value in resolutions) for name in maps}
    _require(
        len(widths) == 1 and len(sizes) == 1,
        f"{what} tensors of one shape. {list(names)} have the widths {sorted(widths)} (smallest, "
        f"largest) and the sizes {sorted(sizes)}",
    )
