"""Counting, drawing and bounding the members of a search space."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qfa_tf.space.architecture import Architecture
from qfa_tf.space.errors import GenomeError
from qfa_tf.space.specs import FLOAT_BITS

if TYPE_CHECKING:
    from qfa_tf.space.space import SearchSpace


def size(space: "SearchSpace") -> int:
    """Returns the exact number of different architectures."""
    total = len(space.resolutions)
    block_options = {
        (s, b): len(stage.kernel_sizes) * len(stage.expand_ratios)
        for s, stage in enumerate(space.stages)
        for b in range(stage.max_depth)
    }
    for site in space.sites:
        options = len(site.weight_bits) * len(site.activation_bits)
        if site.stage is None:
            total *= options
        else:
            block_options[site.stage, site.block] *= options
    for s, stage in enumerate(space.stages):
        total *= sum(math.prod(block_options[s, b] for b in range(depth)) for depth in stage.depths)
    return total


def sample_genomes(
    space: "SearchSpace", rng: np.random.Generator, n: int, choices: Sequence[Sequence[int]]
) -> np.ndarray:
    """Draws each gene uniformly from its `choices` and returns canonical int32[n, n_genes]."""
    genomes = np.empty((n, space.n_genes), np.int32)
    for column, values in enumerate(choices):
        genomes[:, column] = np.array(values, np.int32)[rng.integers(len(values), size=n)]
    return space.canonicalize(genomes)


def extreme_genome(space: "SearchSpace", position: int, bits: int | None) -> np.ndarray:
    """Returns the genome of the first (`position` 0) or last (-1) value of every choice.

    Raises:
      GenomeError: `bits` is given and a site does not offer it.
    """
    genome = np.array([gene.choices[position] for gene in space.genes], np.int32)
    if bits is not None:
        elastic = [gene for gene in space.genes if gene.name.endswith("_bits")]
        offers = [gene.choices for gene in elastic] or [space.weight_bits, space.activation_bits]
        allowed = [*sorted(set.intersection(*map(set, offers))), FLOAT_BITS]
        if bits not in allowed:
            raise GenomeError(
                f"bits must be one of {allowed}, which every elastic site of space "
                f"{space.name!r} offers. Received: {bits!r}"
            )
        genome[[gene.column for gene in elastic]] = bits
    return genome


def float_twin(space: "SearchSpace", arch: Architecture) -> Architecture:
    """Returns `arch` with 32 bits at all sites that offer a choice of bits."""
    genome = space.encode(arch)
    columns = [gene.column for gene in space.genes if gene.name.endswith("_bits")]
    genome[columns] = np.where(genome[columns] == 0, 0, FLOAT_BITS)  # 0 is a skipped block
    return space.decode(genome)


def restrict(space: "SearchSpace", bits: Sequence[int] | None) -> tuple[tuple[int, ...], ...]:
    """Returns the values that each gene keeps when only `bits` are allowed (None: all).

    Raises:
      GenomeError: A gene offers none of `bits`, or nothing offers one of them.
    """
    if bits is None:
        return tuple(gene.choices for gene in space.genes)
    offered = {*space.weight_bits, *space.activation_bits}
    if not bits or not set(bits) <= offered:
        raise GenomeError(
            f"bits must be some of {sorted(offered)}, which space {space.name!r} offers. "
            f"Received: {list(bits)}"
        )
    allowed = []
    for gene in space.genes:
        values = gene.choices
        if gene.name.endswith("_bits"):
            values = tuple(value for value in values if value in bits)
            if not values:
                raise GenomeError(
                    f"Gene {gene.name!r} must keep one of {list(gene.choices)}; "
                    f"add one of them to bits. Received: {list(bits)}"
                )
        allowed.append(values)
    return tuple(allowed)
