"""Between genomes and architectures, and checks of both against a space."""

from collections.abc import Sequence

import numpy as np

from qfa_tf.network import FLOAT_BITS
from qfa_tf.space.architecture import Architecture, Block
from qfa_tf.space.errors import ArchitectureError, GenomeError
from qfa_tf.space.genes import Fixed, Gene, GenomeLayout

_CHUNK = 512
"""Genomes that are checked at a time; their arrays stay in the second-level cache."""


def as_genomes(space: GenomeLayout, genomes: np.ndarray) -> np.ndarray:
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


def validate(space: GenomeLayout, genomes: np.ndarray) -> None:
    """Raises GenomeError at the first gene that holds a value it must not hold."""
    genomes = as_genomes(space, genomes)
    for start in range(0, len(genomes), _CHUNK):
        valid = _valid(space, genomes[start : start + _CHUNK])
        if not valid.all():
            row, column = np.argwhere(~valid)[0]
            _refuse(space, genomes, start + row, column)


def _valid(space: GenomeLayout, genomes: np.ndarray) -> np.ndarray:
    table, rule = space.validity_table, space.skip_rule
    # Seen as unsigned, negative values are large ones: both end in the last column, which is False.
    unsigned = genomes.view(f"u{genomes.dtype.itemsize}")
    values = np.minimum(unsigned, table.shape[1] - 1).astype(np.int32, copy=False)
    valid = table.ravel().take(values + space.validity_offsets)
    missing = (genomes[:, rule.columns] == 0) & ~rule.skipped(genomes)
    if missing.any():
        valid[:, rule.columns] &= ~missing
    return valid


def _refuse(space: GenomeLayout, genomes: np.ndarray, row: int, column: int) -> None:
    gene = space.genes[column]
    allowed = list(gene.choices)
    if gene.is_bits:
        allowed.append(FLOAT_BITS)
    note = ", or 0 where the block is skipped" if column in space.skip_rule.columns else ""
    raise GenomeError(
        f"Gene {gene.name!r} (column {column}) of genome {row} must be one of {allowed}{note}. "
        f"Received: {genomes[row, column]}"
    )


def canonicalize(space: GenomeLayout, genomes: np.ndarray) -> np.ndarray:
    """Returns int32[n, n_genes] with the genes of skipped blocks at 0; values are not checked."""
    genomes = np.array(as_genomes(space, genomes), np.int32)
    rule = space.skip_rule
    genomes[:, rule.columns] *= ~rule.skipped(genomes)
    return genomes


def decode(space: GenomeLayout, genome: np.ndarray) -> Architecture:
    """Returns the architecture of one genome int[n_genes]."""
    genome = np.asarray(genome)
    validate(space, genome[None])
    network, values = space.network, space.values(genome)
    stages = tuple(
        tuple(
            Block(**{role: values[name] for role, name in space.block_choices[slot.name].items()})
            for slot in stage
            if network.is_present(slot.name, values)
        )
        for stage in network.stages
    )
    bits = tuple(
        (node.name, values[node.weight_bits], values[node.activation_bits])
        for node in network.sites
        if network.is_present(node.slot, values)
    )
    others = tuple(
        (choice.name, values[choice.name])
        for choice in space.other_choices
        if network.is_present(choice.slot, values)
    )
    return Architecture(space.name, values[network.resolution.name], stages, bits, others)


def encode(space: GenomeLayout, arch: Architecture) -> np.ndarray:
    """Returns the canonical genome int32[n_genes] of an architecture of this space."""
    network = space.network
    if not isinstance(arch, Architecture):
        raise ArchitectureError(
            "An Architecture is needed, as space.sample(0), space.decode(genome) and "
            f"Architecture.from_json(text) give it. Received: {arch!r:.200}"
        )
    if arch.space != space.name:
        raise ArchitectureError(
            f"The architecture belongs to space {arch.space!r}, this space is {space.name!r}; "
            "encode it with the space it was made for."
        )
    if len(arch.stages) != len(network.stages):
        raise ArchitectureError(
            f"Architectures of space {space.name!r} have {len(network.stages)} stages. "
            f"Received: {len(arch.stages)}"
        )
    genome = np.zeros(space.n_genes, np.int32)
    chosen: dict[str, int] = {}

    def write(name: str, value: int | None) -> None:
        choice = space.lookup(name)
        is_float = _may_be_float(choice) and value == FLOAT_BITS
        if value is None or (value not in choice.choices and not is_float):
            raise ArchitectureError(
                f"{name} must be one of {list(choice.choices)} in space {space.name!r}. "
                f"Received: {value!r}"
            )
        chosen[name] = value
        if isinstance(choice, Gene):
            genome[choice.column] = value

    write(network.resolution.name, arch.resolution)
    for slots, blocks in zip(network.stages, arch.stages, strict=True):
        write(slots[0].depth, len(blocks))
        for slot, block in zip(slots, blocks, strict=False):
            for role, name in space.block_choices[slot.name].items():
                write(name, getattr(block, role))
    wanted = [c.name for c in space.other_choices if network.is_present(c.slot, chosen)]
    _check_names("choices", "choices", wanted, [name for name, _ in arch.choices])
    for name, value in arch.choices:
        write(name, value)
    active = [node for node in network.sites if network.is_present(node.slot, chosen)]
    _check_names("bits", "sites", [node.name for node in active], [row[0] for row in arch.bits])
    pairs = arch.site_bits
    for node in active:
        weight_bits, activation_bits = pairs[node.name]
        write(node.weight_bits, weight_bits)
        write(node.activation_bits, activation_bits)
    return genome


def _may_be_float(choice: Gene | Fixed) -> bool:
    return isinstance(choice, Gene) and choice.is_bits


def _check_names(what: str, things: str, active: Sequence[str], given: Sequence[str]) -> None:
    missing = [name for name in active if name not in given]
    unknown = [name for name in given if name not in active]
    repeated = sorted({name for name in given if given.count(name) > 1})
    if missing or unknown or repeated:
        raise ArchitectureError(
            f"The {what} of an architecture must name each of its active {things} once. "
            f"Missing: {missing}; not active or unknown: {unknown}; repeated: {repeated}"
        )
