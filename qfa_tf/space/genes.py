"""Genes and sites: the names by which cost model, supernet and search address a space."""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from qfa_tf.network import FLOAT_BITS, Network
from qfa_tf.network.choices import BITS_ROLES
from qfa_tf.space.architecture import BLOCK_ROLES
from qfa_tf.space.errors import GenomeError


@dataclasses.dataclass(frozen=True)
class Site:
    """A convolution with a quantizer for its weights and one for its input.

    Attributes:
      name: Unique, for example `stem` or `s1.b0.expand`.
      kind: "convolution", "depthwise", "pointwise" or "dense".
      slot: Block slot to which it belongs, None outside of all.
      weight_bits: Bit-widths to choose from; one value at a fixed site.
      activation_bits: The same for the input of the convolution.
    """

    name: str
    kind: str
    slot: str | None
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Gene:
    """A choice among several values, stored as itself in one column of the genome.

    Attributes:
      name: For example `s1.b0.kernel_size`, `s1.depth`, `resolution`, `stem.weight_bits`.
      choices: The values, ascending.
      column: Its place in the genome.
      role: What it is about, one of `qfa_tf.network.choices.ROLES`.
      slot: Block slot without which it is void, else None.
    """

    name: str
    choices: tuple[int, ...]
    column: int
    role: str
    slot: str | None = None

    @property
    def is_bits(self) -> bool:
        """Whether it is about bits, which may be float as well."""
        return self.role in BITS_ROLES

    def read(self, genome: Any) -> Any:
        """Returns its values from `genome[..., n_genes]`, a NumPy array or a TensorFlow tensor.

        The gene of a skipped block reads 0 in a canonical genome.
        """
        return genome[..., self.column]


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A choice with a single value, which has no column in the genome.

    Attributes:
      name: As in `Gene`.
      value: The value.
      role: As in `Gene`.
      slot: As in `Gene`.
    """

    name: str
    value: int
    role: str
    slot: str | None = None

    @property
    def is_bits(self) -> bool:
        """As in `Gene`."""
        return self.role in BITS_ROLES

    @property
    def choices(self) -> tuple[int, ...]:
        """The value as the only choice."""
        return (self.value,)

    def read(self, genome: Any) -> int:
        """Returns the value, whatever `genome` is; also for a block that is skipped."""
        del genome
        return self.value


def build_sites(network: Network) -> tuple[Site, ...]:
    """Returns the sites of all block slots, in the order of the network."""
    return tuple(
        Site(
            node.name,
            node.kind,
            node.slot,
            network.weight_bits(node),
            network.activation_bits(node),
        )
        for node in network.sites
    )


def build_choices(network: Network) -> tuple[Gene | Fixed, ...]:
    """Returns every choice of the space in genome order."""
    choices: list[Gene | Fixed] = []
    column = 0
    for choice in network.choices:
        if len(choice.values) == 1:
            choices.append(Fixed(choice.name, choice.values[0], choice.role, choice.slot))
        else:
            choices.append(Gene(choice.name, choice.values, column, choice.role, choice.slot))
            column += 1
    return tuple(choices)


class GenomeLayout:
    """Sites, choices and columns of the genomes of one network.

    Args:
      name: Of the space, for messages.
      network: Its description.

    Attributes:
      sites: The sites of all block slots, in the order of the network.
      choices: Every choice in genome order, the fixed ones included.
      genes: The choices that have more than one value: the columns of a genome.
      gene_index: Maps the name of each gene to its column.
    """

    def __init__(self, name: str, network: Network):
        self.name = name
        self.network = network
        self.sites = build_sites(network)
        self.choices = build_choices(network)
        self.genes = tuple(choice for choice in self.choices if isinstance(choice, Gene))
        self.gene_index = {gene.name: gene.column for gene in self.genes}
        self._choice_of_name = {choice.name: choice for choice in self.choices}

    @property
    def n_genes(self) -> int:
        """Length of a genome."""
        return len(self.genes)

    def lookup(self, name: str) -> Gene | Fixed:
        """Returns the choice called `name`.

        Raises:
          GenomeError: The space has no such choice.
        """
        try:
            return self._choice_of_name[name]
        except (KeyError, TypeError):  # TypeError: nothing that could be a name
            examples = {choice.role: repr(choice.name) for choice in reversed(self.choices)}
            raise GenomeError(
                f"Space {self.name!r} has no choice {name!r}; its choices are called like "
                f"{', '.join(examples.values())}, see [choice.name for choice in space.choices]."
            ) from None

    def values(self, genome: np.ndarray) -> dict[str, int]:
        """What one genome int[n_genes] chose, by the name of the choice."""
        return {choice.name: int(choice.read(genome)) for choice in self.choices}

    @functools.cached_property
    def block_choices(self) -> dict[str, dict[str, str]]:
        """By slot, the choices that make up its `Block`, by role; none where no `Block` fits."""
        found = {}
        for slot, choices in self.network.choices_of_slot.items():
            shape = {choice.role: choice.name for choice in choices if not choice.is_bits}
            count = sum(not choice.is_bits for choice in choices)
            fits = tuple(shape) in BLOCK_ROLES and count == len(shape)
            found[slot] = shape if fits else {}
        return found

    @functools.cached_property
    def other_choices(self) -> tuple[Gene | Fixed, ...]:
        """The choices that are neither in a block nor depth, resolution or bits."""
        in_blocks = {name for block in self.block_choices.values() for name in block.values()}
        return tuple(
            choice
            for choice in self.choices
            if choice.role not in ("depth", "resolution")
            and not choice.is_bits
            and choice.name not in in_blocks
        )

    @functools.cached_property
    def skip_rule(self) -> "SkipRule":
        """Which genes are void at which depths."""
        rows = []
        for gene in self.genes:
            if self.network.is_optional(gene.slot):
                slot = self.network.slot(str(gene.slot))
                rows.append((gene.column, self.gene_index[slot.depth], slot.position))
        return SkipRule(*np.array(rows, np.int32).reshape(-1, 3).T)

    @functools.cached_property
    def validity_table(self) -> np.ndarray:
        """bool[n_genes, values + 1]: the values that each gene may hold."""
        values = [
            (*gene.choices, FLOAT_BITS) if gene.is_bits else gene.choices for gene in self.genes
        ]
        table = np.zeros((self.n_genes, max((max(row) for row in values), default=0) + 2), bool)
        for column, allowed in enumerate(values):
            table[column, list(allowed)] = True
        table[self.skip_rule.columns, 0] = True
        return table

    @functools.cached_property
    def validity_offsets(self) -> np.ndarray:
        """int32[n_genes]: where the row of each gene starts in the flat `validity_table`."""
        columns = self.validity_table.shape[1]
        return np.arange(self.n_genes, dtype=np.int32) * np.int32(columns)


class SkipRule(NamedTuple):
    """Which genes belong to blocks that can be skipped: int32 arrays of one length.

    Gene `columns[i]` counts only where `genome[depth_columns[i]] > positions[i]`.
    """

    columns: np.ndarray
    depth_columns: np.ndarray
    positions: np.ndarray

    def skipped(self, genomes: np.ndarray) -> np.ndarray:
        """Returns bool[n, len(columns)], true where the gene belongs to a skipped block."""
        return genomes[:, self.depth_columns] <= self.positions
