"""What whole populations of genomes chose, as arrays that index the tables of a cost model."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from qfa_tf.cost.geometry import Unit, units
from qfa_tf.cost.site_cost import CHARGED_BITS
from qfa_tf.space import Fixed, SearchSpace

MOST_CODES = 64
"""Codes up to which the shape choices of a slot are read as one number."""


class Choices(NamedTuple):
    """The choices of n genomes.

    Attributes:
      codes: intp[groups, n]; the shape of each `Group`: 0 when its slot is skipped, else a code.
      resolution: intp[n], index into the resolutions of the space.
      weight_bits: float64[sites, n], at most 8; any value where the block is skipped.
      activation_bits: The same for the input of each site.
    """

    codes: np.ndarray
    resolution: np.ndarray
    weight_bits: np.ndarray
    activation_bits: np.ndarray


class Group:
    """Nodes of one slot whose shapes hang on the same few choices.

    Attributes:
      slot: Of the nodes, or None.
      choices: Values of each choice by its name.
    """

    def __init__(self, slot: str | None, choices: Mapping[str, tuple[int, ...]]):
        self.slot = slot
        self.choices = dict(choices)

    @property
    def n_codes(self) -> int:
        """Above every code."""
        return 1 + math.prod(map(len, self.choices.values()))

    def takes(self, slot: str | None, choices: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether nodes of `slot` with these choices can belong to it."""
        united = Group(self.slot, {**self.choices, **choices})
        fits = united.n_codes <= MOST_CODES or united.n_codes == self.n_codes
        return slot == self.slot and fits

    def shapes(self) -> Iterator[tuple[int, dict[str, int]]]:
        """Yields every code and the values that it stands for."""
        for index, values in enumerate(itertools.product(*self.choices.values())):
            yield 1 + index, dict(zip(self.choices, values, strict=True))

    def strides(self) -> list[int]:
        """How much a step of each choice adds to a code."""
        counts = [len(values) for values in self.choices.values()]
        return [math.prod(counts[i + 1 :]) for i in range(len(counts))]


def flat_table(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns `table` [rows, columns] flat, and offsets [rows, 1] to add to columns to index it.

    One `take` in a flat table is several times faster than an index per axis.
    """
    return table.ravel(), np.arange(len(table))[:, None] * table.shape[1]


class ChoiceReader:
    """Reads choices from genomes, whether they are genes or fixed.

    Args:
      space: Search space of the genomes.

    Attributes:
      groups: Rows of `Choices.codes`.
      group_of_node: Row of every node but the image, by name.
      group_of_site: The same for the sites, intp[sites].
      n_codes: Above every code.
    """

    def __init__(self, space: SearchSpace):
        network, self._n_genes = space.network, space.n_genes
        fixed = [choice for choice in space.choices if isinstance(choice, Fixed)]
        # After the genome come the fixed choices, then 0 and 1 for what hangs on no choice.
        self._constants = np.array([*(choice.value for choice in fixed), 0, 1], np.int32)
        row = {choice.name: self._n_genes + i for i, choice in enumerate(fixed)}
        row.update(space.gene_index)
        zero, one = self._n_genes + len(fixed), self._n_genes + len(fixed) + 1
        self.groups, self.group_of_node = _grouped(space)
        self.group_of_site = np.array([self.group_of_node[site.name] for site in space.sites])
        self.n_codes = max(group.n_codes for group in self.groups)
        most = max(len(group.choices) for group in self.groups)
        largest = max(choice.choices[-1] for choice in space.choices)
        self._rows = np.full((most, len(self.groups)), zero)
        steps = np.zeros((most, len(self.groups), largest + 1), np.intp)
        for g, group in enumerate(self.groups):
            for i, (name, stride) in enumerate(zip(group.choices, group.strides(), strict=True)):
                self._rows[i, g] = row[name]
                values = group.choices[name]
                steps[i, g, list(values)] = stride * np.arange(len(values))
        self._steps = [flat_table(table) for table in steps]
        depths = [
            (row[network.slot(group.slot).depth], network.slot(group.slot).position)
            if group.slot
            else (one, 0)
            for group in self.groups
        ]
        self._depth_rows = np.array([depth for depth, _ in depths])
        self._positions = np.array([position for _, position in depths])[:, None]
        self._resolutions = np.array(space.resolutions)
        self._weight_rows = [row[site.weight_bits] for site in network.sites]
        self._activation_rows = [row[site.activation_bits] for site in network.sites]
        self._resolution_row = row[network.resolution.name]

    def read(self, genomes: np.ndarray) -> Choices:
        """Returns the choices of valid genomes int[n, n_genes]."""
        n = len(genomes)
        values = np.empty((self._n_genes + len(self._constants), n), np.int32)
        values[: self._n_genes] = genomes.T
        values[self._n_genes :] = self._constants[:, None]
        codes = np.ones((len(self.groups), n), np.intp)
        for rows, (steps, offsets) in zip(self._rows, self._steps, strict=True):
            codes += steps.take(values[rows] + offsets)
        codes *= values[self._depth_rows] > self._positions

        def bits(rows: Sequence[int]) -> np.ndarray:
            return np.minimum(values[rows], CHARGED_BITS).astype(np.float64)

        return Choices(
            codes=codes,
            resolution=np.searchsorted(self._resolutions, values[self._resolution_row]),
            weight_bits=bits(self._weight_rows),
            activation_bits=bits(self._activation_rows),
        )


def _grouped(space: SearchSpace) -> tuple[list[Group], dict[str, int]]:
    """The groups, and that of each node; the nodes of a unit share one."""
    groups: list[Group] = []
    of_node: dict[str, int] = {}
    for unit in units(space.network):
        slot, wanted = unit.nodes[0].slot, _shape(space, unit)
        row = next((i for i, group in enumerate(groups) if group.takes(slot, wanted)), len(groups))
        if row == len(groups):
            groups.append(Group(slot, {}))
        groups[row].choices |= wanted
        of_node.update((node.name, row) for node in unit.nodes)
    return groups, of_node


def _shape(space: SearchSpace, unit: Unit) -> dict[str, tuple[int, ...]]:
    """The choices that the shapes of a unit hang on, with their values."""
    names = {name for node in unit.nodes for name in space.network.shape_choices(node)}
    return {choice.name: choice.choices for choice in space.choices if choice.name in names}
