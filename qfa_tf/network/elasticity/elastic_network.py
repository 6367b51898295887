"""From a rigid network and what shall be elastic to a network with choices and slots."""

import dataclasses
import math
from collections.abc import Sequence

from qfa_tf.network.choices import (
    BITS,
    BITS_ROLES,
    FLOAT_BITS,
    ROLES,
    Choice,
    Chosen,
    Constant,
    Width,
    make_divisible,
)
from qfa_tf.network.elasticity.channel_groups import ChannelGroup, ChannelGroups
from qfa_tf.network.elasticity.options import ElasticityOptions
from qfa_tf.network.elasticity.residual_slots import (
    in_stages,
    residual_slots,
    side_by_side,
)
from qfa_tf.network.errors import InvalidSpaceError
from qfa_tf.network.findings import Finding, as_values
from qfa_tf.network.network import Network
from qfa_tf.network.nodes import Convolution, Flatten, GlobalPooling, Image, Node, Slot
from qfa_tf.network.validation import check

MOST_SHAPES = 81
"""Combinations of widths that may meet at one site: cost models and supernets tabulate them."""
SMALLER_KERNELS = {5: (3, 5), 7: (3, 5, 7)}


def elastic_network(
    rigid: Network, options: ElasticityOptions
) -> tuple[Network, tuple[Finding, ...]]:
    """Gives a network choices and slots.

    Args:
      rigid: A network without choices and slots.
      options: What shall be elastic.

    Returns:
      (network, everything that has or could have a choice).

    Raises:
      InvalidSpaceError: The options ask for what the network has not; the sentence names it.
    """
    return _Elasticity(rigid, options).result()


class _Elasticity:
    """One network that is made elastic."""

    def __init__(self, rigid: Network, options: ElasticityOptions):
        self._rigid = rigid
        self._options = options
        self._asked = as_values(options.elastic)
        self._groups = ChannelGroups(rigid)
        self._slots = [] if options.optional_blocks is False else residual_slots(rigid)
        if options.optional_blocks and not self._slots:
            raise InvalidSpaceError(
                "The network has no residual branch with an identity as its shortcut, which could "
                "be left out. Leave optional_blocks away, or use False. Received: "
                f"optional_blocks={options.optional_blocks!r}."
            )
        self._slot_of = {name: slot for slot in self._slots for name in slot.members}
        self._choices: list[Choice] = []
        self._findings: list[Finding] = []
        self._width_of_group: dict[str, Width] = {}

    def result(self) -> tuple[Network, tuple[Finding, ...]]:
        """See `elastic_network`."""
        self._add_resolution()
        slots = self._add_slots()
        self._add_widths()
        kernels = self._add_kernels()
        self._add_bits()
        if unknown := sorted(set(self._asked) - {one.name for one in self._findings}):
            raise InvalidSpaceError(
                f"elastic names {unknown}, which are no choices of this network. describe() lists "
                "them."
            )
        nodes = [self._elastic(node, kernels) for node in side_by_side(self._rigid, self._slots)]
        order = {role: min(rank, ROLES.index(BITS_ROLES[0])) for rank, role in enumerate(ROLES)}
        choices = sorted(self._choices, key=lambda choice: order[choice.role])
        network = Network(tuple(choices), tuple(slots), tuple(nodes), self._rigid.outputs)
        return check(network), tuple(self._findings)

    def _add(
        self,
        name: str,
        role: str,
        values: Sequence[int],
        full: Sequence[int],
        nodes: Sequence[str],
        reason: str = "",
        slot: str | None = None,
        is_rigid: bool = False,
    ) -> tuple[int, ...]:
        """Adds a choice with its finding; what was asked for by name wins.

        Args:
          name: Of the choice.
          role: Of the choice.
          values: By default.
          full: All values that can be asked for; where there are none, all up to the largest.
          nodes: That it is about.
          reason: Why there is one value.
          slot: Of the choice.
          is_rigid: Whether there is no other value.
        """
        if name in self._asked:
            asked = tuple(sorted(set(self._asked[name])))
            largest = values[-1]
            fits = set(asked) <= set(full) if full else 0 < asked[0] <= asked[-1] <= largest
            if not asked or (is_rigid and asked != tuple(values)) or not fits:
                allowed = f"some of {list(full)}" if full else f"from 1 to {largest}"
                why = f", because {reason}" if is_rigid else ""
                allowed = f"{list(values)}" if is_rigid else allowed
                raise InvalidSpaceError(
                    f"elastic[{name!r}] must be {allowed}{why}. Received: {self._asked[name]}"
                )
            reason = "asked for" if len(asked) == 1 and len(values) > 1 else reason
            values = asked
        if len(values) > 1 or role not in ("width", "kernel_size"):
            self._choices.append(Choice(name, tuple(values), role, slot))
        reason = reason if len(values) == 1 else ""
        self._findings.append(Finding(name, role, tuple(values), tuple(nodes), reason, is_rigid))
        return tuple(values)

    # The image and the slots.

    def _add_resolution(self) -> None:
        own = self._rigid.resolution
        (size,) = own.values
        values = self._options.resolutions or own.values
        fixed = self._why_one_resolution()
        if values[-1] != size or (fixed and len(values) > 1):
            raise InvalidSpaceError(
                f"resolutions must end with {size}, the size that the network was made for"
                + (f", and have no other, because {fixed}" if fixed else "")
                + f". Received: {values}"
            )
        full = () if not fixed else values
        reason = fixed or "no other was asked for"
        image = self._rigid.image.name
        self._add(own.name, own.role, values, full, [image], reason, is_rigid=bool(fixed))

    def _why_one_resolution(self) -> str:
        """Why the image has one size; empty where the network takes others."""
        for node in self._rigid.nodes:
            if isinstance(node, Flatten) and node.positions > 1:
                return f"{node.name!r} makes a vector of a map of one size"
        if not any(isinstance(node, GlobalPooling) for node in self._rigid.nodes):
            return "no global pooling makes vectors of maps"
        return ""

    def _add_slots(self) -> list[Slot]:
        is_free = self._options.optional_blocks == "free"
        stages = [[slot] for slot in self._slots] if is_free else in_stages(self._slots)
        found = []
        for stage in stages:
            depth = f"{stage[0].name}.depth"
            values = tuple(range(len(stage) + 1))
            nodes = [slot.name for slot in stage]
            self._add(depth, "depth", values, values, nodes)
            found += [
                Slot(slot.name, depth, place, slot.source, slot.output)
                for place, slot in enumerate(stage)
            ]
        return found

    # Widths.

    def _add_widths(self) -> None:
        offers = {group.name: self._widths_of(group) for group in self._groups.groups}
        reasons = {group.name: self._why_one_width(group) for group in self._groups.groups}
        crowded = self._uncrowded(offers)
        for group in self._groups.groups:
            name, values = f"{group.name}.width", offers[group.name]
            reason = crowded.get(group.name) or reasons[group.name] or "one ratio"
            slots = {self._slot_name(node) for node in group.nodes}
            slot = slots.pop() if len(slots) == 1 else None
            if group.fixed:
                finding = Finding(
                    name, "width", (group.channels,), tuple(group.nodes), reason, True
                )
                self._refuse_asked(finding)
                self._findings.append(finding)
                self._width_of_group[group.name] = Constant(group.channels)
                continue
            widths = self._add(name, "width", values, (), group.nodes, reason, slot)
            self._width_of_group[group.name] = (
                Chosen(name) if len(widths) > 1 else Constant(*widths)
            )

    def _refuse_asked(self, finding: Finding) -> None:
        asked = self._asked.get(finding.name, finding.values)
        if asked != finding.values:
            raise InvalidSpaceError(
                f"elastic[{finding.name!r}] must be {list(finding.values)}, because "
                f"{finding.reason}. Received: {asked}"
            )

    def _slot_name(self, node: str) -> str | None:
        slot = self._slot_of.get(node)
        return None if slot is None else slot.name

    def _widths_of(self, group: ChannelGroup) -> tuple[int, ...]:
        full, name = group.channels, f"{group.name}.width"
        if name in self._asked:
            return (*sorted(set(self._asked[name]) - {full}), full)
        if self._why_one_width(group):
            return (full,)
        divisor = self._options.width_divisor
        widths = {make_divisible(full * ratio, divisor) for ratio in self._options.width_ratios}
        return (*sorted(width for width in widths if width < full), full)

    def _why_one_width(self, group: ChannelGroup) -> str:
        if group.fixed:
            return group.fixed
        if group.is_residual and not self._options.residual_widths:
            return "on a residual path (residual_widths=True makes it elastic)"
        if group.channels <= self._options.width_divisor:
            return f"no more channels than the divisor {self._options.width_divisor}"
        return ""

    def _uncrowded(self, offers: dict[str, tuple[int, ...]]) -> dict[str, str]:
        """Takes choices away where too many meet; returns why, by group."""
        reasons = {}
        for node in self._rigid.nodes:
            met = {
                group.name: group
                for name in (*node.inputs, node.name)
                for group in self._groups.parts(name)
                if len(offers[group.name]) > 1
            }
            while math.prod(len(offers[name]) for name in met) > MOST_SHAPES:
                last = min(reversed(met), key=lambda name: met[name].channels)
                offers[last] = (met.pop(last).channels,)
                reasons[last] = f"too many widths meet in {node.name!r}"
        return reasons

    # Kernels and bits.

    def _add_kernels(self) -> dict[str, int | str]:
        """The kernel sizes by site, or the choices of them."""
        kernels: dict[str, int | str] = {}
        for site in self._rigid.sites:
            if site.kind != "depthwise" or site.kernel_size not in SMALLER_KERNELS:
                continue
            full = SMALLER_KERNELS[int(site.kernel_size)]
            parts = self._groups.parts(site.inputs[0])
            several = len(parts) > 1 and any(self._is_chosen(part) for part in parts)
            reason = ""
            if site.dilation > 1:
                reason = f"its weights are {site.dilation} apart"
            elif site.padding != "same":
                reason = "zeros of a layer in front belong to the full kernel"
            elif several:
                reason = "it reads a concatenation with a choice of widths"
            values = full[-1:] if reason or not self._options.kernel_sizes else full
            name = f"{site.name}.kernel_size"
            slot = self._slot_name(site.name)
            why = reason or "kernel_sizes=False"
            sizes = self._add(
                name, "kernel_size", values, full, [site.name], why, slot, is_rigid=bool(reason)
            )
            kernels[site.name] = name if len(sizes) > 1 else sizes[0]
        return kernels

    def _is_chosen(self, group: ChannelGroup) -> bool:
        return isinstance(self._width_of_group[group.name], Chosen)

    def _add_bits(self) -> None:
        ends = self._ends()
        for site in self._rigid.sites:
            pair = self._options.bits_of(site.name)
            reason = "fixed_bits"
            if pair is None and site.name in ends and self._options.end_bits is not None:
                pair, reason = self._options.end_bits, ends[site.name]
            elif pair is None and _is_scale(site):
                pair, reason = (8, 8), "one factor for each channel"
            offered = (self._options.weight_bits, self._options.activation_bits)
            for place, (role, values) in enumerate(zip(BITS_ROLES, offered, strict=True)):
                only = values if pair is None else (pair[place],)
                full = only if only == (FLOAT_BITS,) else BITS
                name, slot = f"{site.name}.{role}", self._slot_name(site.name)
                why = reason if pair is not None else "one value"
                self._add(name, role, only, full, [site.name], why, slot)
        for pattern in self._options.fixed_bits:
            matching = dataclasses.replace(self._options, fixed_bits={pattern: (8, 8)})
            if not any(matching.bits_of(site.name) for site in self._rigid.sites):
                raise InvalidSpaceError(
                    f"fixed_bits names {pattern!r}, which no site is called. The sites: "
                    f"{[site.name for site in self._rigid.sites]}"
                )

    def _ends(self) -> dict[str, str]:
        """The sites that read the image or give a result, with the reason."""
        ends = {}
        first: set[str] = set()  # nodes before any site
        for node in self._rigid.nodes:
            if isinstance(node, Image) or (node.inputs and first.issuperset(node.inputs)):
                if isinstance(node, Convolution):
                    ends[node.name] = "reads the image (end_bits)"
                else:
                    first.add(node.name)
        for output in self._rigid.outputs:
            name = output
            while not isinstance(self._rigid.node(name), Convolution | Image):
                name = self._rigid.node(name).inputs[0]
            ends.setdefault(name, "gives a result (end_bits)")
        return ends

    # Nodes.

    def _elastic(self, node: Node, kernels: dict[str, int | str]) -> Node:
        changes: dict[str, object] = {"slot": self._slot_name(node.name)}
        if isinstance(node, Convolution):
            if node.width is not None:
                (group,) = self._groups.parts(node.name)
                changes["width"] = self._width_of_group[group.name]
            if node.name in kernels:
                changes["kernel_size"] = kernels[node.name]
        return dataclasses.replace(node, **changes)  # type: ignore[arg-type]


def _is_scale(site: Convolution) -> bool:
    """Whether a site multiplies channels, as a normalization that stands alone does."""
    return site.kind == "depthwise" and site.kernel_size == 1
