"""First genomes of a search: random ones that meet the budget."""

from collections.abc import Callable

import numpy as np

from qfa_tf.search.subspace import Subspace
from qfa_tf.space import SearchSpace

LARGEST_RESOLUTION, FULL_DEPTH, ONE_BIT_WIDTH = 0.4, 0.3, 0.3
"""Shares of the QFA recipe: genomes at the largest resolution, at full depth, of equal bits."""
_DRAWN_PER_WANTED = 10
_ANCHORED_PER_WANTED = 5
_BRIDGES, _BRIDGED_PER_WANTED = 8, 50

Draw = Callable[[np.random.Generator, int], np.ndarray]


def sample_feasible(
    rng: np.random.Generator,
    subspace: Subspace,
    feasible: Callable[[np.ndarray], np.ndarray],
    n: int,
    *,
    draw: Draw | None = None,
    anchors: bool = True,
) -> np.ndarray:
    """Draws up to n different feasible genomes, canonical int32[<= n, n_genes].

    The smallest and the largest genome come first, then both structures at each bit-width, those of
    them that are feasible (half of the n at most). Then random genomes; as long as these do not
    suffice, random ones crossed with more and more of a feasible extreme one; at last mixtures of
    the extremes, which lie at all costs between theirs and so between bounds from below and above,
    too.

    Args:
      rng: Source of randomness.
      subspace: Where to look.
      feasible: From canonical genomes int32[m, n_genes] to bool[m].
      n: How many are wanted; fewer come back when the budget leaves no more.
      draw: Draws genomes; each gene uniformly by default.
      anchors: Whether the genomes that have a name come first.
    """
    draw = draw or subspace.table.random
    found: dict[bytes, np.ndarray] = {}

    def collect(genomes: np.ndarray) -> None:
        genomes = subspace.project(genomes)
        for genome in genomes[feasible(genomes)]:
            found.setdefault(genome.tobytes(), genome)

    ends = subspace.ends
    reachable = ends[feasible(subspace.project(ends))]
    if anchors:
        named = subspace.anchors()
        collect(named[feasible(named)][: max(2, n // 2)])
    collect(draw(rng, _DRAWN_PER_WANTED * n))
    for share in np.repeat([0.25, 0.5, 0.75, 0.85, 0.9, 0.95], 4):
        if len(found) >= n or not len(reachable):
            break
        genomes = draw(rng, _ANCHORED_PER_WANTED * n)
        keep = rng.random(genomes.shape) < share
        collect(np.where(keep, reachable[rng.integers(len(reachable), size=len(genomes))], genomes))
    for _ in range(_BRIDGES):
        if len(found) >= n:
            break
        genomes = draw(rng, _BRIDGED_PER_WANTED * n)
        towards_largest = rng.random(len(genomes))[:, None] > rng.random(genomes.shape)
        keep = rng.random(genomes.shape) < rng.random(len(genomes))[:, None]
        collect(np.where(keep, np.where(towards_largest, ends[1], ends[0]), genomes))
    chosen = list(found.values())[:n]
    return np.array(chosen, np.int32).reshape(len(chosen), subspace.space.n_genes)


class RecipeDraw:
    """Draws genomes as the QFA recipe does, for the training of a predictor.

    Four in ten have the largest resolution, three in ten full depth, three in ten one bit-width
    everywhere; the rest of each genome is uniform.

    Args:
      subspace: Where to look.
    """

    def __init__(self, subspace: Subspace):
        self._subspace = subspace
        space: SearchSpace = subspace.space
        self._resolution = [g.column for g in space.genes if g.role == "resolution"]
        self._depths = [g.column for g in space.genes if g.role == "depth"]
        self._bits = [g.column for g in space.genes if g.is_bits]
        self._shared = subspace.shared_bits()

    def __call__(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Returns n full genomes."""
        genomes = self._subspace.table.random(rng, n)
        for columns, share in (
            (self._resolution, LARGEST_RESOLUTION),
            (self._depths, FULL_DEPTH),
        ):
            rows = rng.random(n) < share
            for column in columns:
                genomes[rows, column] = self._subspace.choices[column][-1]
        tied = np.flatnonzero(rng.random(n) < ONE_BIT_WIDTH)
        if self._shared:
            bits = rng.choice(self._shared, size=(len(tied), 1))
            genomes[tied[:, None], self._bits] = bits
        return genomes
