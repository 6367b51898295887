"""Genomes as the input of a predictor: ones and zeros."""

import numpy as np

from qfa_tf.space import SearchSpace


class GenomeEncoder:
    """One-hot canonical genomes, as in the QFA paper.

    A column per value of each gene; all zeros where the block is skipped. Depths are
    thermometers: a one for each value up to the chosen one.

    Args:
      space: Search space.

    Attributes:
      width: Number of columns.
    """

    def __init__(self, space: SearchSpace):
        self.space = space
        genes = space.genes
        largest = max((gene.choices[-1] for gene in genes), default=0)
        starts = np.cumsum([0, *(len(gene.choices) for gene in genes)])
        self.width = int(starts[-1])
        # Per gene and value: its column, or the spare last one.
        self._columns = np.full((len(genes), largest + 1), self.width, np.intp)
        for gene, start in zip(genes, starts, strict=False):
            self._columns[gene.column, list(gene.choices)] = start + np.arange(len(gene.choices))
        self._offsets = np.arange(len(genes)) * (largest + 1)
        self._thermometers = [
            (start, start + len(gene.choices))
            for gene, start in zip(genes, starts, strict=False)
            if gene.role == "depth"
        ]

    def encode(self, genomes: np.ndarray) -> np.ndarray:
        """Returns float32[n, width] for canonical genomes int32[n, n_genes]."""
        rows = np.zeros((len(genomes), self.width + 1), np.float32)
        columns = self._columns.ravel().take(np.asarray(genomes) + self._offsets)
        np.put_along_axis(rows, columns, 1.0, axis=1)
        for start, stop in self._thermometers:
            part = rows[:, start:stop]
            part[:] = np.maximum.accumulate(part[:, ::-1], axis=1)[:, ::-1]
        return rows[:, :-1]
