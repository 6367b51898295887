"""The search space: every network that one supernet contains."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qfa_tf.space import codec, members, specs
from qfa_tf.space.architecture import Architecture
from qfa_tf.space.errors import GenomeError, InvalidSpaceError
from qfa_tf.space.genes import Fixed, Gene, Site, build_choices, build_sites

SCHEMA_VERSION = 1


def make_divisible(value: float, divisor: int) -> int:
    """Rounds `value` to a multiple of `divisor`, at least one, and by at most a tenth downwards.

    The rule of the MobileNet family, https://arxiv.org/abs/1801.04381 (reference code).
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """Stem, stages of elastic blocks and head, with the bit-widths of every site.

    A genome holds one int32 per choice that has more than one value, stored as itself (kernel 7,
    ratio 6, resolution 224); genes of skipped blocks are 0. `lookup(name)` finds any choice,
    whether it has a column in the genome or is fixed.

    Args:
      name: For people and files.
      resolutions: Input sizes in pixels, ascending.
      stem: First convolution.
      stages: At least one.
      head: What follows the last stage.
      weight_bits: Weight bit-widths of all sites that are not fixed, out of 2, 3, 4, 8, ascending.
      activation_bits: The same for the input of each convolution.
      fixed_bits: Maps a site to its only (weight bits, activation bits); 32 stands for float.
      input_channels: Channels of the images.
      num_classes: Outputs of the classifier.
      width_divisor: Hidden widths are multiples of it.

    Raises:
      InvalidSpaceError: A value is not allowed or a site of `fixed_bits` does not exist.
    """

    name: str
    resolutions: tuple[int, ...]
    stem: specs.Stem
    stages: tuple[specs.Stage, ...]
    head: specs.Head
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    fixed_bits: Mapping[str, tuple[int, int]]
    input_channels: int
    num_classes: int
    width_divisor: int = 8

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name:
            raise InvalidSpaceError(f"name must be a non-empty string. Received: {self.name!r}")
        for field in ("input_channels", "num_classes", "width_divisor"):
            specs.require_int(field, getattr(self, field))
        for field, allowed in (
            ("resolutions", None),
            ("weight_bits", specs.BITS),
            ("activation_bits", specs.BITS),
        ):
            choices = specs.as_choices(field, getattr(self, field), allowed)
            object.__setattr__(self, field, choices)
        specs.require_part("stem", self.stem, specs.Stem)
        specs.require_part("head", self.head, specs.Head)
        object.__setattr__(self, "stages", specs.as_stages(self.stages))
        object.__setattr__(self, "fixed_bits", specs.as_fixed_bits(self.fixed_bits))
        unknown = sorted(set(self.fixed_bits) - {site.name for site in self.sites})
        if unknown:
            raise InvalidSpaceError(
                f"fixed_bits names sites that this space does not have: {unknown}. "
                f"Its sites: {[site.name for site in self.sites]}"
            )

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    # Names.

    @functools.cached_property
    def sites(self) -> tuple[Site, ...]:
        """The sites of all block slots, from the stem to the classifier."""
        return build_sites(self)

    @functools.cached_property
    def choices(self) -> tuple[Gene | Fixed, ...]:
        """Every choice in genome order, the fixed ones included."""
        return build_choices(self)

    @functools.cached_property
    def genes(self) -> tuple[Gene, ...]:
        """The choices that have more than one value: the columns of a genome."""
        return tuple(choice for choice in self.choices if isinstance(choice, Gene))

    @functools.cached_property
    def gene_index(self) -> dict[str, int]:
        """Maps the name of each gene to its column."""
        return {gene.name: gene.column for gene in self.genes}

    @property
    def n_genes(self) -> int:
        """Length of a genome."""
        return len(self.genes)

    @functools.cached_property
    def _choice_of_name(self) -> dict[str, Gene | Fixed]:
        return {choice.name: choice for choice in self.choices}

    def lookup(self, name: str) -> Gene | Fixed:
        """Returns the choice called `name`; its `read(genome)` gives the value either way.

        Names: `s1.b0.kernel_size`, `s1.b0.expand_ratio`, `s1.depth`, `resolution`,
        `<site>.weight_bits`, `<site>.activation_bits`.

        Raises:
          GenomeError: The space has no such choice.
        """
        try:
            return self._choice_of_name[name]
        except KeyError:
            raise GenomeError(
                f"Space {self.name!r} has no choice {name!r}; they are called like "
                f"'s0.b0.kernel_size', 's0.depth', 'resolution' or 'stem.weight_bits', "
                f"see [choice.name for choice in space.choices]."
            ) from None

    # Geometry.

    def block_stride(self, stage: int, block: int) -> int:
        """Stride of the depthwise convolution: that of the stage in its first block, else 1."""
        return self.stages[stage].stride if block == 0 else 1

    def block_input_width(self, stage: int, block: int) -> int:
        """Channels at the input of a block."""
        if block > 0:
            return self.stages[stage].width
        return self.stages[stage - 1].width if stage > 0 else self.stem.width

    def mid_width(self, stage: int, block: int, ratio: int) -> int:
        """Hidden channels of a block at expand ratio `ratio`."""
        width = self.block_input_width(stage, block)
        return width if ratio == 1 else make_divisible(width * ratio, self.width_divisor)

    def max_mid_width(self, stage: int, block: int) -> int:
        """Hidden channels of a block at its largest expand ratio."""
        return self.mid_width(stage, block, self.stages[stage].expand_ratios[-1])

    def squeeze_width(self, mid_width: int) -> int:
        """Channels between the two convolutions of squeeze-excite (Once-for-All, MobileNetV3)."""
        return make_divisible(mid_width // 4, self.width_divisor)

    def has_residual(self, stage: int, block: int) -> bool:
        """Whether input and output of a block are added: stride 1 and equal widths."""
        width = self.block_input_width(stage, block)
        return self.block_stride(stage, block) == 1 and width == self.stages[stage].width

    def feature_size(self, resolution: int, stage: int | None = None) -> int:
        """Height and width of a feature map under SAME padding (halves are rounded up).

        Args:
          resolution: Of the input; an int or an array of ints.
          stage: The map after this stage; -1 for the one after the stem, None for the one that
            enters the head.
        """
        last = len(self.stages) - 1 if stage is None else stage
        for stride in [self.stem.stride] + [part.stride for part in self.stages[: last + 1]]:
            resolution = -(-resolution // stride)
        return resolution

    # Genomes and architectures.

    @functools.cached_property
    def skip_rule(self) -> codec.SkipRule:
        """Which genes are void at which depths."""
        return codec.build_skip_rule(self)

    @functools.cached_property
    def validity_table(self) -> np.ndarray:
        """bool[n_genes, values + 1]: the values that each gene may hold."""
        return codec.build_validity_table(self)

    @functools.cached_property
    def validity_offsets(self) -> np.ndarray:
        """int32[n_genes]: where the row of each gene starts in the flat `validity_table`."""
        columns = self.validity_table.shape[1]
        return np.arange(self.n_genes, dtype=np.int32) * np.int32(columns)

    def encode(self, arch: Architecture) -> np.ndarray:
        """Returns the canonical genome int32[n_genes] of `arch`.

        Raises:
          ArchitectureError: `arch` is not of this space; the message names the part.
        """
        return codec.encode(self, arch)

    def decode(self, genome: np.ndarray) -> Architecture:
        """Returns the architecture of `genome`, int[n_genes], canonical or not.

        Raises:
          GenomeError: See `validate`.
        """
        return codec.decode(self, genome)

    def canonicalize(self, genomes: np.ndarray) -> np.ndarray:
        """Returns int32[n, n_genes] with the genes of skipped blocks set to 0.

        Equal networks have equal canonical genomes. Values are not checked, see `validate`.

        Raises:
          GenomeError: Wrong shape or dtype.
        """
        return codec.canonicalize(self, genomes)

    def validate(self, genomes: np.ndarray) -> None:
        """Checks genomes int[n, n_genes]; genes of skipped blocks may be 0 or any valid value.

        Raises:
          GenomeError: Names the first wrong gene, its value and the allowed values; also for
            genomes of another length.
        """
        codec.validate(self, genomes)

    def size(self) -> int:
        """Returns the exact number of different architectures."""
        return members.size(self)

    def sample_genomes(
        self, rng: np.random.Generator, n: int, choices: Sequence[Sequence[int]] | None = None
    ) -> np.ndarray:
        """Draws each gene uniformly and returns canonical genomes int32[n, n_genes].

        Args:
          rng: Source of randomness.
          n: How many.
          choices: Allowed values per gene, from `restrict`; all by default.
        """
        choices = self.restrict() if choices is None else choices
        return members.sample_genomes(self, rng, n, choices)

    def sample(self, rng: np.random.Generator | int) -> Architecture:
        """Draws one architecture, each gene uniformly.

        Args:
          rng: Source of randomness, or a seed.
        """
        return self.decode(self.sample_genomes(np.random.default_rng(rng), 1)[0])

    def largest(self, bits: int | None = None) -> Architecture:
        """Returns the architecture with the largest value of every choice.

        Args:
          bits: Bit-width of all weights and activations that are not fixed; by default the
            largest of each. 32 stands for float.

        Raises:
          GenomeError: `bits` is not offered.
        """
        return self.decode(members.extreme_genome(self, -1, bits))

    def smallest(self, bits: int | None = None) -> Architecture:
        """Returns the architecture with the smallest value of every choice; see `largest`."""
        return self.decode(members.extreme_genome(self, 0, bits))

    def float_twin(self, arch: Architecture) -> Architecture:
        """Returns the same network with 32 (float) wherever bits can be chosen.

        Raises:
          ArchitectureError: `arch` is not of this space.
        """
        return members.float_twin(self, arch)

    def restrict(self, bits: Sequence[int] | None = None) -> tuple[tuple[int, ...], ...]:
        """Returns the values that each gene may take in a search over some bit-widths.

        Genomes keep the encoding of the whole space.

        Args:
          bits: Allowed bit-widths; all by default.

        Raises:
          GenomeError: A gene offers none of `bits`, or no gene offers one of them.
        """
        return members.restrict(self, bits)

    # Files.

    def replace(self, **changes: Any) -> "SearchSpace":
        """Returns a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """Returns the space as JSON text with a schema version."""
        return json.dumps(
            {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}, sort_keys=True
        )

    @classmethod
    def from_json(cls, text: str) -> "SearchSpace":
        """Reads what `to_json` wrote.

        Raises:
          InvalidSpaceError: No JSON, another schema version, missing or unknown keys, or values
            that are not allowed.
        """
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise InvalidSpaceError(
                f"The text of a space must be JSON as written by SearchSpace.to_json(); this one "
                f"is damaged: {error}"
            ) from error
        version = fields.pop("schema_version", None) if isinstance(fields, dict) else None
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise InvalidSpaceError(
                f"This version reads spaces of schema_version {SCHEMA_VERSION}. "
                f"Received: {version!r}"
            )
        for key, part in (("stem", specs.Stem), ("head", specs.Head)):
            if key in fields:
                fields[key] = specs.from_fields(part, fields[key], key)
        if isinstance(fields.get("stages"), list):
            fields["stages"] = tuple(
                specs.from_fields(specs.Stage, stage, f"stages[{s}]")
                for s, stage in enumerate(fields["stages"])
            )
        return specs.from_fields(cls, fields, "A space")

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that tell spaces apart."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @classmethod
    def mobilenet_v3(cls, width_mult: float = 1.0, **options: Any) -> "SearchSpace":
        """Returns the MobileNetV3 space of a width multiplier; see `presets.mobilenet_v3`."""
        from qfa_tf.space import presets

        return presets.mobilenet_v3(width_mult, **options)

    @classmethod
    def from_preset(cls, name: str) -> "SearchSpace":
        """Returns one of the spaces in `qfa_tf.space.presets`.

        Raises:
          InvalidSpaceError: There is no such preset; the message lists them.
        """
        from qfa_tf.space import presets

        return presets.make(name)
