"""Genetic operators on whole populations of genomes; randomness comes in as a Generator."""

from collections.abc import Sequence

import numpy as np


class GeneTable:
    """The values that each gene may take, and random draws from them.

    A full genome has a value in every gene. A canonical one (`SearchSpace.canonicalize`) has 0 in
    the genes of skipped blocks; when a block comes back, `fill` draws its genes.

    Args:
      choices: Allowed values per gene, from `SearchSpace.restrict`.
    """

    def __init__(self, choices: Sequence[Sequence[int]]):
        self.choices = choices
        self.counts = np.array([len(values) for values in choices])
        self.values = np.zeros((len(choices), max(self.counts, default=0)), np.int32)
        for row, values in zip(self.values, choices, strict=True):
            row[: len(values)] = values

    def random(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws n full genomes int32[n, n_genes], each gene uniformly."""
        index = rng.integers(self.counts, size=(n, len(self.counts)))
        return self.values[np.arange(len(self.counts)), index]

    def fill(self, rng: np.random.Generator, genomes: np.ndarray) -> np.ndarray:
        """Returns `genomes` with a random value in place of each 0."""
        return np.where(genomes == 0, self.random(rng, len(genomes)), genomes)

    def mutate(self, rng: np.random.Generator, genomes: np.ndarray, rate: float) -> np.ndarray:
        """Gives each gene, with probability `rate`, another of its values; 0 stays 0."""
        genomes = genomes.copy()
        chosen = rng.random(genomes.shape) < rate
        rows, columns = np.nonzero(chosen & (genomes != 0) & (self.counts > 1))
        index = np.argmax(self.values[columns] == genomes[rows, columns, None], axis=1)
        index = (index + rng.integers(1, self.counts[columns])) % self.counts[columns]
        genomes[rows, columns] = self.values[columns, index]
        return genomes


def uniform_crossover(
    rng: np.random.Generator, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Swaps each gene of two parents int[n, n_genes] with probability one half.

    Where one parent skips a block, both children take the values of the other one: whichever of
    them keeps the block keeps a block that has been tried.
    """
    swap = rng.random(first.shape) < 0.5
    known = np.where(first == 0, second, first)
    children = np.where(swap, second, first), np.where(swap, first, second)
    one, other = (np.where(child == 0, known, child) for child in children)
    return one, other
