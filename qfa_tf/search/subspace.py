"""The part of a space that is searched: values per gene, and bits that are tied together."""

from collections.abc import Sequence

import numpy as np

from qfa_tf.cost import CostModel
from qfa_tf.search.operators import GeneTable
from qfa_tf.space import GenomeError, SearchSpace


class Subspace:
    """Genomes with some bit-widths only, all bits different or all the same.

    Args:
      space: Search space.
      bits: Allowed bit-widths; all by default.
      uniform_bits: Whether all weights and activations that are not fixed have one bit-width
        (the setting of OQA).

    Attributes:
      choices: Allowed values per gene.
      table: The same for the genetic operators.
      ends: int32[2, n_genes], the smallest and the largest value of every gene.

    Raises:
      GenomeError: The space does not offer `bits`, or no bit-width that all sites share.
    """

    def __init__(
        self, space: SearchSpace, bits: Sequence[int] | None = None, uniform_bits: bool = False
    ):
        self.space = space
        self.bits = None if bits is None else tuple(bits)
        self.choices = space.restrict(bits)
        self._tied = np.array([gene.column for gene in space.genes if gene.is_bits], np.intp)
        # A space of a single bit-width has no gene for it and nothing to tie.
        has_one = len(space.weight_bits) == 1 and space.weight_bits == space.activation_bits
        self.uniform_bits = uniform_bits and not has_one
        if self.uniform_bits:
            self.choices = self._shared_choices()
        self.table = GeneTable(self.choices)
        ends = [[values[end] for values in self.choices] for end in (0, -1)]
        self.ends = np.array(ends, np.int32)

    def shared_bits(self) -> tuple[int, ...]:
        """Returns the bit-widths that all sites with a choice offer, fewest first."""
        offers = [set(self.choices[column]) for column in self._tied]
        return tuple(sorted(set.intersection(*offers))) if offers else ()

    def _shared_choices(self) -> tuple[tuple[int, ...], ...]:
        shared = self.shared_bits()
        # The gene that decides must not be void, as those of skipped blocks are.
        always = [
            gene.column
            for gene in self.space.genes
            if gene.column in self._tied and not self.space.network.is_optional(gene.slot)
        ]
        if not shared or not always:
            raise GenomeError(
                f"Uniform bits need a bit-width that all elastic sites of space "
                f"{self.space.name!r} share. Received: bits={self.bits}"
            )
        self._leader = always[0]
        tied = set(self._tied.tolist())
        return tuple(
            shared if column in tied else values for column, values in enumerate(self.choices)
        )

    def project(self, genomes: np.ndarray) -> np.ndarray:
        """Returns canonical genomes int32[n, n_genes], their bits made equal if they must be."""
        if self.uniform_bits:
            genomes = np.array(genomes)
            genomes[:, self._tied] = genomes[:, [self._leader]]
        return self.space.canonicalize(genomes)

    def random(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws n canonical genomes, each gene uniformly."""
        return self.project(self.table.random(rng, n))

    def anchors(self) -> np.ndarray:
        """Returns the nets that have a name, canonical int32[n, n_genes].

        The smallest and the largest value of every gene first; then the smallest and the largest
        structure at each bit-width that all sites share. No front should be below these.
        """
        found = [self.ends]
        for bits in self.shared_bits():
            uniform = self.ends.copy()
            uniform[:, self._tied] = bits
            found.append(uniform)
        genomes = self.project(np.concatenate(found))
        _, first = np.unique(genomes, axis=0, return_index=True)
        return genomes[np.sort(first)]

    def bounds(self, cost: CostModel, metric: str) -> tuple[float, float]:
        """Returns minimum and maximum of a cost; exact, for tied bits too."""
        if not self.uniform_bits:
            return cost.bounds(metric, self.choices)
        tied = set(self._tied.tolist())
        found = [
            cost.bounds(
                metric,
                [(bits,) if column in tied else v for column, v in enumerate(self.choices)],
            )
            for bits in self.choices[self._leader]
        ]
        return min(low for low, _ in found), max(high for _, high in found)
