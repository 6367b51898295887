"""What whole populations of genomes chose, as arrays that index the tables of a cost model."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from qfa_tf.cost.site_cost import CHARGED_BITS
from qfa_tf.space import Fixed, SearchSpace

KERNEL_CODES = 8
"""Block codes per expand ratio; kernel sizes are at most 7."""


class Choices(NamedTuple):
    """The choices of n genomes.

    Attributes:
      codes: intp[slots + 1, n]; what each block slot is: 0 when skipped, else its `block_code`. The
        last row is always 0: the sites outside the stages use it.
      resolution: intp[n], index into the resolutions of the space.
      weight_bits: float64[sites, n], at most 8; any value where the block is skipped.
      activation_bits: The same for the input of each site.
    """

    codes: np.ndarray
    resolution: np.ndarray
    weight_bits: np.ndarray
    activation_bits: np.ndarray


def block_code(kernel_size: int, expand_ratio: int) -> int:
    """Returns the code of a block; a positive int below `ChoiceReader.n_codes`."""
    return expand_ratio * KERNEL_CODES + kernel_size


def block_choices(space: SearchSpace, stage: int) -> Iterator[tuple[int, int]]:
    """Yields every (kernel size, expand ratio) that a block of the stage may have."""
    part = space.stages[stage]
    return itertools.product(part.kernel_sizes, part.expand_ratios)


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
      slots: (stage, block) of every block slot.
      slot_of_site: Row of `Choices.codes` for every site.
      n_codes: Above every block code.
    """

    def __init__(self, space: SearchSpace):
        self._n_genes = space.n_genes
        fixed = [choice for choice in space.choices if isinstance(choice, Fixed)]
        self._fixed = np.array([choice.value for choice in fixed], np.int32)
        row = {choice.name: self._n_genes + i for i, choice in enumerate(fixed)}
        row.update(space.gene_index)
        self.slots = [
            (s, b) for s, stage in enumerate(space.stages) for b in range(stage.max_depth)
        ]
        self.slot_of_site = [
            len(self.slots) if site.stage is None else self.slots.index((site.stage, site.block))
            for site in space.sites
        ]
        largest = max(stage.expand_ratios[-1] for stage in space.stages)
        self.n_codes = block_code(0, largest + 1)
        self._resolutions = np.array(space.resolutions)
        self._kernel_rows = [row[f"s{s}.b{b}.kernel_size"] for s, b in self.slots]
        self._ratio_rows = [row[f"s{s}.b{b}.expand_ratio"] for s, b in self.slots]
        self._depth_rows = [row[f"s{s}.depth"] for s, _ in self.slots]
        self._blocks = np.array([b for _, b in self.slots])[:, None]
        self._weight_rows = [row[f"{site.name}.weight_bits"] for site in space.sites]
        self._activation_rows = [row[f"{site.name}.activation_bits"] for site in space.sites]
        self._resolution_row = row["resolution"]

    def read(self, genomes: np.ndarray) -> Choices:
        """Returns the choices of valid genomes int[n, n_genes]."""
        n = len(genomes)
        values = np.empty((self._n_genes + len(self._fixed), n), np.int32)
        values[: self._n_genes] = genomes.T
        values[self._n_genes :] = self._fixed[:, None]
        codes = np.zeros((len(self.slots) + 1, n), np.intp)
        codes[:-1] = block_code(values[self._kernel_rows], values[self._ratio_rows])
        codes[:-1] *= values[self._depth_rows] > self._blocks

        def bits(rows: list[int]) -> np.ndarray:
            return np.minimum(values[rows], CHARGED_BITS).astype(np.float64)

        return Choices(
            codes=codes,
            resolution=np.searchsorted(self._resolutions, values[self._resolution_row]),
            weight_bits=bits(self._weight_rows),
            activation_bits=bits(self._activation_rows),
        )
