"""Between genomes and architectures, and checks of both against a space."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qfa_tf.space.architecture import Architecture, Block
from qfa_tf.space.errors import ArchitectureError, GenomeError
from qfa_tf.space.specs import FLOAT_BITS

if TYPE_CHECKING:
    from qfa_tf.space.space import SearchSpace

_CHUNK = 512
"""Genomes that are checked at a time; their arrays stay in the second-level cache."""


class SkipRule(NamedTuple):
    """Which genes belong to blocks that can be skipped: int32 arrays of one length.

    Gene `columns[i]` counts only where `genome[depth_columns[i]] > blocks[i]`.
    """

    columns: np.ndarray
    depth_columns: np.ndarray
    blocks: np.ndarray

    def skipped(self, genomes: np.ndarray) -> np.ndarray:
        """Returns bool[n, len(columns)], true where the gene belongs to a skipped block."""
        return genomes[:, self.depth_columns] <= self.blocks


def build_skip_rule(space: "SearchSpace") -> SkipRule:
    """Returns the rule by which `canonicalize` works."""
    rows = [
        (gene.column, space.gene_index[f"s{gene.stage}.depth"], gene.block)
        for gene in space.genes
        if gene.stage is not None and gene.block >= space.stages[gene.stage].depths[0]
    ]
    return SkipRule(*np.array(rows, np.int32).reshape(-1, 3).T)


def as_genomes(space: "SearchSpace", genomes: np.ndarray) -> np.ndarray:
    """Returns `genomes` as an integer array [n, n_genes].

    Raises:
      GenomeError: Not integers, not two axes, or the length of another space.
    """
    genomes = np.asarray(genomes)
    if not np.issubdtype(genomes.dtype, np.integer):
        raise GenomeError(f"Genomes must be integers, int32 best. Received: {genomes.dtype}")
    if genomes.ndim != 2 or genomes.shape[1] != space.n_genes:
        raise GenomeError(
            f"Genomes of space {space.name!r} must have the shape [n, {space.n_genes}]; pass "
            "genome[None] for a single one. Another length is a genome of another space. "
            f"Received: shape {list(genomes.shape)}"
        )
    # Narrower types cannot hold every resolution.
    return genomes if genomes.dtype.itemsize >= 4 else genomes.astype(np.int32)


def build_validity_table(space: "SearchSpace") -> np.ndarray:
    """Returns bool[n_genes, values + 1]: whether a gene may hold a value (last column: no)."""
    largest = max((gene.choices[-1] for gene in space.genes), default=0)
    table = np.zeros((space.n_genes, max(largest, FLOAT_BITS) + 2), bool)
    for gene in space.genes:
        table[gene.column, list(gene.choices)] = True
        if gene.name.endswith("_bits"):
            table[gene.column, FLOAT_BITS] = True
    table[space.skip_rule.columns, 0] = True
    return table


def validate(space: "SearchSpace", genomes: np.ndarray) -> None:
    """Raises GenomeError at the first gene that holds a value it must not hold."""
    genomes = as_genomes(space, genomes)
    for start in range(0, len(genomes), _CHUNK):
        valid = _valid(space, genomes[start : start + _CHUNK])
        if not valid.all():
            row, column = np.argwhere(~valid)[0]
            _refuse(space, genomes, start + row, column)


def _valid(space: "SearchSpace", genomes: np.ndarray) -> np.ndarray:
    table, rule = space.validity_table, space.skip_rule
    # Seen as unsigned, negative values are large ones: both end in the last column, which is False.
    unsigned = genomes.view(f"u{genomes.dtype.itemsize}")
    values = np.minimum(unsigned, table.shape[1] - 1).astype(np.int32, copy=False)
    valid = table.ravel().take(values + space.validity_offsets)
    missing = (genomes[:, rule.columns] == 0) & ~rule.skipped(genomes)
    if missing.any():
        valid[:, rule.columns] &= ~missing
    return valid


def _refuse(space: "SearchSpace", genomes: np.ndarray, row: int, column: int) -> None:
    gene = space.genes[column]
    allowed = list(gene.choices)
    if gene.name.endswith("_bits"):
        allowed.append(FLOAT_BITS)
    note = ", or 0 where the block is skipped" if column in space.skip_rule.columns else ""
    raise GenomeError(
        f"Gene {gene.name!r} (column {column}) of genome {row} must be one of {allowed}{note}. "
        f"Received: {genomes[row, column]}"
    )


def canonicalize(space: "SearchSpace", genomes: np.ndarray) -> np.ndarray:
    """Returns int32[n, n_genes] with the genes of skipped blocks at 0; values are not checked."""
    genomes = np.array(as_genomes(space, genomes), np.int32)
    rule = space.skip_rule
    genomes[:, rule.columns] *= ~rule.skipped(genomes)
    return genomes


def decode(space: "SearchSpace", genome: np.ndarray) -> Architecture:
    """Returns the architecture of one genome int[n_genes]."""
    genome = np.asarray(genome)
    validate(space, genome[None])

    def read(name: str) -> int:
        return int(space.lookup(name).read(genome))

    depths = [read(f"s{s}.depth") for s in range(len(space.stages))]
    stages = tuple(
        tuple(
            Block(read(f"s{s}.b{b}.kernel_size"), read(f"s{s}.b{b}.expand_ratio"))
            for b in range(depth)
        )
        for s, depth in enumerate(depths)
    )
    bits = tuple(
        (site.name, read(f"{site.name}.weight_bits"), read(f"{site.name}.activation_bits"))
        for site in space.sites
        if site.stage is None or site.block < depths[site.stage]
    )
    return Architecture(space.name, read("resolution"), stages, bits)


def encode(space: "SearchSpace", arch: Architecture) -> np.ndarray:
    """Returns the canonical genome int32[n_genes] of an architecture of this space."""
    if arch.space != space.name:
        raise ArchitectureError(
            f"The architecture belongs to space {arch.space!r}, this space is {space.name!r}; "
            "encode it with the space it was made for."
        )
    if len(arch.stages) != len(space.stages):
        raise ArchitectureError(
            f"Architectures of space {space.name!r} have {len(space.stages)} stages. "
            f"Received: {len(arch.stages)}"
        )
    genome = np.zeros(space.n_genes, np.int32)

    def write(name: str, value: int) -> None:
        choice = space.lookup(name)
        is_float = name.endswith("_bits") and value == FLOAT_BITS and len(choice.choices) > 1
        if value not in choice.choices and not is_float:
            raise ArchitectureError(
                f"{name} must be one of {list(choice.choices)} in space {space.name!r}. "
                f"Received: {value!r}"
            )
        if name in space.gene_index:
            genome[choice.column] = value

    write("resolution", arch.resolution)
    for s, stage in enumerate(arch.stages):
        write(f"s{s}.depth", len(stage))
        for b, block in enumerate(stage):
            write(f"s{s}.b{b}.kernel_size", block.kernel_size)
            write(f"s{s}.b{b}.expand_ratio", block.expand_ratio)
    active = [
        site.name
        for site in space.sites
        if site.stage is None or site.block < len(arch.stages[site.stage])
    ]
    _check_sites(active, [site for site, _, _ in arch.bits])
    for site, weight_bits, activation_bits in arch.bits:
        write(f"{site}.weight_bits", weight_bits)
        write(f"{site}.activation_bits", activation_bits)
    return genome


def _check_sites(active: Sequence[str], given: Sequence[str]) -> None:
    missing = [site for site in active if site not in given]
    unknown = [site for site in given if site not in active]
    repeated = sorted({site for site in given if given.count(site) > 1})
    if missing or unknown or repeated:
        raise ArchitectureError(
            "The bits of an architecture must name each of its active sites once. "
            f"Missing: {missing}; not active or unknown: {unknown}; repeated: {repeated}"
        )
