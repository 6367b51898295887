"""Figures that are a sum over sites, each a function of what was chosen there, as a table."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from qfa_tf.cost.choices import ChoiceReader, Choices
from qfa_tf.cost.geometry import Unit, units
from qfa_tf.cost.site_cost import CHARGED_BITS
from qfa_tf.network import Values
from qfa_tf.space import SearchSpace

MOST_COMBINATIONS = 4096
"""Of the choices that several slots share, up to which bounds try them all."""

Best = Callable[[Iterable[float]], float]


class Setting(NamedTuple):
    """What a genome chose at a site.

    Attributes:
      resolution: Of the network's input.
      shape: Values of the choices of widths and kernel, by name.
      weight_bits: At most 8; 8 without a site.
      activation_bits: Of the input of the site, at most 8; 8 without a site.
    """

    resolution: int
    shape: Values
    weight_bits: int = CHARGED_BITS
    activation_bits: int = CHARGED_BITS


class SiteTable:
    """Sums a figure over the units that are there, for whole populations.

    Args:
      space: Search space.
      reader: Of the same space.
      figure: The figure of a site and what follows it under a setting.
      constant: Added to every sum.
      by_resolution: Whether `figure` depends on the resolution.
    """

    def __init__(
        self,
        space: SearchSpace,
        reader: ChoiceReader,
        figure: Callable[[Unit, Setting], float],
        *,
        constant: float = 0.0,
        by_resolution: bool = False,
    ):
        self._space = space
        self._constant = constant
        self._units = units(space.network)
        self._groups = [reader.group_of_node[unit.nodes[0].name] for unit in self._units]
        self._resolutions = space.resolutions if by_resolution else space.resolutions[-1:]
        bits = sorted({min(b, CHARGED_BITS) for u in self._units for b in self._all_bits(u)})
        self._bits_index = np.zeros(CHARGED_BITS + 1, np.intp)
        self._bits_index[bits] = np.arange(len(bits))
        shape = (len(self._units), len(self._resolutions), reader.n_codes, len(bits), len(bits))
        self._table = np.zeros(shape)
        self._codes: list[dict[tuple[tuple[str, int], ...], int]] = []
        for unit, group, table in zip(self._units, self._groups, self._table, strict=True):
            codes = {}
            for code, chosen in reader.groups[group].shapes():
                codes[tuple(chosen.items())] = code
                options = (self._resolutions, *self._bits_of(unit))
                for resolution, *pair in itertools.product(*options):
                    setting = Setting(resolution, chosen, *pair)
                    table[self._position(code, setting)] = figure(unit, setting)
            self._codes.append(codes)
        self._strides = np.array(shape).cumprod()[-1] // np.array(shape).cumprod()
        rows = {site.name: row for row, site in enumerate(space.network.sites)}
        # A unit without a site has one pair of bits, and any row will do where it is not read.
        self._site_rows = [rows[unit.site.name] if unit.site else 0 for unit in self._units]
        self._has_site = np.array([[unit.site is not None] for unit in self._units])

    def total(self, choices: Choices) -> np.ndarray:
        """Returns float64[n] for the choices of n genomes."""
        unit_stride, resolution_stride, code_stride, weight_stride, _ = self._strides
        index = choices.codes[self._groups] * code_stride
        index += np.arange(len(index))[:, None] * unit_stride
        for bits, stride in ((choices.weight_bits, weight_stride), (choices.activation_bits, 1)):
            steps = self._bits_index.take(bits.astype(np.intp))[self._site_rows] * stride
            index += np.where(self._has_site, steps, self._bits_index[CHARGED_BITS] * stride)
        if len(self._resolutions) > 1:
            index += choices.resolution * resolution_stride
        return self._table.ravel().take(index).sum(axis=0) + self._constant

    def bounds(self, choices: Sequence[Sequence[int]]) -> tuple[float, float]:
        """Returns minimum and maximum over all genomes with these values per gene.

        They are exact: given the resolution and the choices that several slots share, slots are
        independent of each other, and given the shape of a slot, so are the bits of its sites.
        Where there are more than MOST_COMBINATIONS of what is shared, only the smallest and the
        largest value of each shared choice are tried, all small or all large.

        Args:
          choices: Allowed values per gene, from `SearchSpace.restrict`.
        """
        return self._extreme(choices, min), self._extreme(choices, max)

    def _position(self, code: int, setting: Setting) -> tuple[int, ...]:
        return (
            self._resolutions.index(setting.resolution) if len(self._resolutions) > 1 else 0,
            code,
            int(self._bits_index[min(setting.weight_bits, CHARGED_BITS)]),
            int(self._bits_index[min(setting.activation_bits, CHARGED_BITS)]),
        )

    def _bits_of(self, unit: Unit) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Weight and activation bits that a unit may be charged."""
        if unit.site is None:
            return (CHARGED_BITS,), (CHARGED_BITS,)
        network = self._space.network
        weight, activation = (
            tuple(min(value, CHARGED_BITS) for value in values)
            for values in (network.weight_bits(unit.site), network.activation_bits(unit.site))
        )
        return weight, activation

    def _all_bits(self, unit: Unit) -> tuple[int, ...]:
        weight, activation = self._bits_of(unit)
        return (*weight, *activation)

    def _extreme(self, choices: Sequence[Sequence[int]], best: Best) -> float:
        space, network = self._space, self._space.network
        allowed = {choice.name: tuple(choice.choices) for choice in space.choices} | {
            gene.name: tuple(choices[gene.column]) for gene in space.genes
        }
        shared = [
            choice.name
            for choice in network.choices
            if choice.slot is None and choice.role in ("kernel_size", "expand_ratio", "width")
        ]

        def unit_value(row: int, resolution: int, shape: Values) -> float:
            site = self._units[row].site
            pairs: Iterable[tuple[int, ...]] = [(CHARGED_BITS, CHARGED_BITS)]
            if site is not None:
                pairs = itertools.product(allowed[site.weight_bits], allowed[site.activation_bits])
            code = self._code(row, shape)
            table = self._table[row]
            return best(
                float(table[self._position(code, Setting(resolution, shape, *pair))])
                for pair in pairs
            )

        def slot_value(slot: str | None, resolution: int, outer: Values) -> float:
            rows = [row for row, unit in enumerate(self._units) if unit.nodes[0].slot == slot]
            names = (
                []
                if slot is None
                else [choice.name for choice in network.choices_of_slot[slot] if not choice.is_bits]
            )
            return best(
                sum(unit_value(row, resolution, {**outer, **shape}) for row in rows)
                for shape in _combinations(names, allowed)
            )

        def value(resolution: int, outer: Values) -> float:
            total = self._constant + slot_value(None, resolution, outer)
            for stage in network.stages:
                slots = [slot_value(slot.name, resolution, outer) for slot in stage]
                total += best(sum(slots[:depth]) for depth in allowed[stage[0].depth])
            return total

        outers = list(_outer_combinations(shared, allowed))
        resolutions = self._resolutions
        if len(resolutions) > 1:
            resolutions = allowed[network.resolution.name]
        return best(value(resolution, outer) for resolution in resolutions for outer in outers)

    def _code(self, row: int, shape: Values) -> int:
        codes = self._codes[row]
        names = [name for name, _ in next(iter(codes))]
        return codes[tuple((name, shape[name]) for name in names)]


def _combinations(
    names: Sequence[str], allowed: Mapping[str, Sequence[int]]
) -> Iterator[dict[str, int]]:
    for values in itertools.product(*(allowed[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def _outer_combinations(
    names: Sequence[str], allowed: Mapping[str, Sequence[int]]
) -> Iterator[dict[str, int]]:
    if math.prod(len(allowed[name]) for name in names) <= MOST_COMBINATIONS:
        yield from _combinations(names, allowed)
        return
    for end in (0, -1):
        yield {name: allowed[name][end] for name in names}
