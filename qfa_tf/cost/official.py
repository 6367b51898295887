"""Official accounting: what the release of QFA charges, for the spaces that it is defined for."""

import dataclasses
import itertools

import numpy as np

from qfa_tf.cost import official_entries as entries
from qfa_tf.cost.choices import ChoiceReader, Choices, flat_table
from qfa_tf.cost.exact import ExactAccounting
from qfa_tf.cost.site_cost import CHARGED_BITS, SiteCost
from qfa_tf.network import Values
from qfa_tf.space import Architecture, SearchSpace
from quantize_configs.errors import UnsupportedError


class UndefinedAccountingError(UnsupportedError):
    """The accounting says nothing about this space."""


def check_space(space: SearchSpace) -> None:
    """Checks that the release has an entry for everything in `space`.

    Bits, activations, the number of classes and the input channels do not matter: the entries do
    not depend on them.

    Raises:
      UndefinedAccountingError: It has none; the message names the first difference.
    """
    maker = f"SearchSpace.mobilenet_v3({entries.WIDTH_MULT}, ...)"
    model = SearchSpace.mobilenet_v3(entries.WIDTH_MULT)

    def require(what: str, received: object, allowed: object, is_allowed: bool) -> None:
        if not is_allowed:
            raise UndefinedAccountingError(
                f'accounting="official" is defined for spaces as {maker} makes them, with the '
                f"choices of the QFA paper: {what} must be {allowed}. "
                f"Received: {received} in space {space.name!r}. "
                'Use accounting="exact", which is defined for all spaces.'
            )

    family = space.family.FAMILY
    require("the family", family, model.family.FAMILY, family == model.family.FAMILY)

    def same(what: str, received: object, allowed: object) -> None:
        require(what, received, allowed, received == allowed)

    def within(what: str, received: tuple[int, ...], allowed: tuple[int, ...]) -> None:
        require(what, received, f"out of {allowed}", set(received) <= set(allowed))

    same("the number of stages", len(space.stages), len(model.stages))
    for field in ("width", "stride", "kernel_size"):
        same(f"stem.{field}", getattr(space.stem, field), getattr(model.stem, field))
    for field in ("expand_width", "mix_width"):
        same(f"head.{field}", getattr(space.head, field), getattr(model.head, field))
    for s, (stage, wanted) in enumerate(zip(space.stages, model.stages, strict=True)):
        for field in ("width", "stride", "squeeze_excite"):
            same(f"stages[{s}].{field}", getattr(stage, field), getattr(wanted, field))
        for field in ("depths", "kernel_sizes", "expand_ratios"):
            allowed = getattr(wanted, field)
            if field == "depths":
                allowed = tuple(range(1, allowed[-1] + 1))
            within(f"stages[{s}].{field}", getattr(stage, field), allowed)
    within("resolutions", space.resolutions, entries.RESOLUTIONS)
    same("width_divisor", space.width_divisor, model.width_divisor)


class OfficialAccounting:
    """Lookup tables of one space; `params` and `weight_bytes` are exact.

    `macs` are the entries in full, `bitops` the entries times weight bits * activation bits.

    Args:
      space: Search space of the genomes.
      reader: Of the same space.

    Raises:
      UndefinedAccountingError: See `check_space`.
    """

    def __init__(self, space: SearchSpace, reader: ChoiceReader):
        check_space(space)
        self._space = space
        self._exact = ExactAccounting(space, reader)
        self._group_of_site = reader.group_of_site
        self._n_codes = reader.n_codes
        # The last axis of a table is the code of the shape, the one before it the resolution.
        shape = (len(space.sites), len(space.resolutions), reader.n_codes)
        sites, rests = np.zeros(shape), np.zeros(shape)
        for i, site in enumerate(space.sites):
            group = reader.groups[reader.group_of_node[site.name]]
            for (r, resolution), (code, chosen) in itertools.product(
                enumerate(space.resolutions), group.shapes()
            ):
                sites[i, r, code], rests[i, r, code] = self._entry(site.name, resolution, chosen)
        self._sites, self._site_offsets = flat_table(sites.reshape(len(sites), -1))
        with_rest = np.flatnonzero(rests.any(axis=(1, 2)))
        self._groups_with_rest = self._group_of_site[with_rest]
        rests = rests[with_rest]
        self._rests, self._rest_offsets = flat_table(rests.reshape(len(rests), -1))

    def _entry(self, site: str, resolution: int, chosen: Values) -> tuple[int, int]:
        """(cost at 8 bits, what is charged in full besides) of a site."""
        stage, block, part = self._space.place(site)
        if stage is None:
            return entries.outer_entry(resolution, part), 0
        entry = entries.block_entry(resolution, stage, block, *self._shape(site, chosen))
        return getattr(entry, part), entry.rest if part == "project" else 0

    def _shape(self, node: str, chosen: Values) -> tuple[int, int]:
        """(kernel size, expand ratio) of the block of a node; any where it hangs on none."""
        network = self._space.network
        names = self._space.layout.block_choices[str(network.node(node).slot)]
        known = {**network.ends[0], **chosen}
        return known[names["kernel_size"]], known[names["expand_ratio"]]

    def evaluate(self, choices: Choices) -> dict[str, np.ndarray]:
        """Returns float64[n] for `macs`, `bitops`, `params` and `weight_bytes`."""
        codes = choices.codes + choices.resolution * self._n_codes
        costs = self._sites.take(codes[self._group_of_site] + self._site_offsets)
        rests = self._rests.take(codes[self._groups_with_rest] + self._rest_offsets).sum(axis=0)
        bitops = np.einsum("sn,sn,sn->n", costs, choices.weight_bits, choices.activation_bits)
        return {
            "macs": costs.sum(axis=0) + rests,
            "bitops": bitops + CHARGED_BITS**2 * rests,
            **self._exact.storage(choices),
        }

    def per_site(self, architecture: Architecture) -> list[SiteCost]:
        """Returns the cost of every site of an architecture of the space, in site order.

        Squeeze-excite has a row of its own, charged at the bits of the depthwise convolution;
        `BlockEntry.rest` is in the row of the project convolution.
        """
        resolution, chosen = architecture.resolution, self._space.values(architecture)
        rows: list[SiteCost] = []
        charged: SiteCost | None = None
        for row in self._exact.per_site(architecture):
            stage, block, part = self._space.place(row.site)
            rest, size = 0, row.output_size
            if stage is None:
                macs = entries.outer_entry(resolution, part)
                size = entries.outer_size(resolution, part, size)
                charged = row
            else:
                kernel_size, expand_ratio = self._shape(row.site, chosen)
                entry = entries.block_entry(resolution, stage, block, kernel_size, expand_ratio)
                squeeze = entries.squeeze_excite_entry(stage, block, expand_ratio)
                before, middle, after = entries.block_sizes(resolution, stage, block)
                macs, size, rest = {
                    "expand": (entry.expand, before, 0),
                    "depthwise": (entry.depthwise - squeeze, middle, 0),
                    "se": (squeeze, 1, 0),
                    "project": (entry.project, after, entry.rest),
                }[part]
                if part != "se" or charged is None:  # squeeze-excite is charged as the depthwise
                    charged = row
            bitops = macs * charged.weight_bits * charged.activation_bits
            bitops += rest * CHARGED_BITS**2
            rows.append(
                dataclasses.replace(
                    row, output_size=size, macs=macs + rest, mflops_8bit=bitops / 64 / 1e6
                )
            )
        return rows
