"""Counting, drawing and bounding the members of a search space."""

import math
from collections.abc import Collection, Sequence

import numpy as np

from qfa_tf.network import FLOAT_BITS
from qfa_tf.space import codec
from qfa_tf.space.architecture import Architecture
from qfa_tf.space.errors import GenomeError
from qfa_tf.space.genes import GenomeLayout


def size(space: GenomeLayout) -> int:
    """Returns the exact number of different architectures."""
    network = space.network
    options = dict.fromkeys((slot.name for slot in network.slots), 1)
    total = 1
    for choice in network.choices:
        if choice.slot is not None:
            options[choice.slot] *= len(choice.values)
        elif choice.role != "depth":
            total *= len(choice.values)
    for stage in network.stages:
        total *= sum(
            math.prod(options[slot.name] for slot in stage if slot.position < depth)
            for depth in network.choice(stage[0].depth).values
        )
    return total


def sample_genomes(
    space: GenomeLayout, rng: np.random.Generator, n: int, choices: Sequence[Sequence[int]]
) -> np.ndarray:
    """Draws each gene uniformly from its `choices` and returns canonical int32[n, n_genes]."""
    _check_choices(space, choices)
    genomes = np.empty((n, space.n_genes), np.int32)
    for column, values in enumerate(choices):
        genomes[:, column] = np.array(values, np.int32)[rng.integers(len(values), size=n)]
    return codec.canonicalize(space, genomes)


def _check_choices(space: GenomeLayout, choices: Sequence[Sequence[int]]) -> None:
    ok = isinstance(choices, Sequence) and len(choices) == space.n_genes
    if not ok or not all(
        len(values) and set(values) <= {*gene.choices, FLOAT_BITS if gene.is_bits else 0}
        for gene, values in zip(space.genes, choices, strict=True)
    ):
        raise GenomeError(
            f"choices must hold allowed values of each of the {space.n_genes} genes, as "
            f"space.restrict(bits) gives them. Received: {choices!r:.200}"
        )


def extreme_genome(
    space: GenomeLayout,
    position: int,
    bits: int | None,
    offered: Sequence[Sequence[int]],
) -> np.ndarray:
    """Returns the genome of the first (`position` 0) or last (-1) value of every choice.

    Args:
      space: Layout of the genomes.
      position: 0 or -1.
      bits: Of all weights and activations that are not fixed; those of `position` when None.
      offered: Bit-widths of a space without elastic sites.

    Raises:
      GenomeError: `bits` is given and a site does not offer it.
    """
    genome = np.array([gene.choices[position] for gene in space.genes], np.int32)
    if bits is not None:
        elastic = [gene for gene in space.genes if gene.is_bits]
        offers: list[Sequence[int]] = [gene.choices for gene in elastic] or list(offered)
        allowed = [*sorted(set.intersection(*map(set, offers))), FLOAT_BITS]
        if bits not in allowed:
            raise GenomeError(
                f"bits must be one of {allowed}, which every elastic site of space "
                f"{space.name!r} offers. Received: {bits!r}"
            )
        genome[[gene.column for gene in elastic]] = bits
    return genome


def float_twin(space: GenomeLayout, arch: Architecture) -> Architecture:
    """Returns `arch` with 32 bits at all sites that offer a choice of bits."""
    genome = codec.encode(space, arch)
    columns = [gene.column for gene in space.genes if gene.is_bits]
    genome[columns] = np.where(genome[columns] == 0, 0, FLOAT_BITS)  # 0 is a skipped block
    return codec.decode(space, genome)


def restrict(
    space: GenomeLayout, bits: Sequence[int] | None, offered: Collection[int]
) -> tuple[tuple[int, ...], ...]:
    """Returns the values that each gene keeps when only `bits` are allowed (None: all).

    Raises:
      GenomeError: A gene offers none of `bits`, or nothing offers one of them.
    """
    if bits is None:
        return tuple(gene.choices for gene in space.genes)
    if not isinstance(bits, Collection) or not bits or not set(bits) <= set(offered):
        received = list(bits) if isinstance(bits, Collection) else bits
        raise GenomeError(
            f"bits must be some of {sorted(set(offered))}, which space {space.name!r} offers. "
            f"Received: {received!r}"
        )
    allowed = []
    for gene in space.genes:
        values = gene.choices
        if gene.is_bits:
            values = tuple(value for value in values if value in bits)
            if not values:
                raise GenomeError(
                    f"Gene {gene.name!r} must keep one of {list(gene.choices)}; "
                    f"add one of them to bits. Received: {list(bits)}"
                )
        allowed.append(values)
    return tuple(allowed)
