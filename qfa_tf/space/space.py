"""The search space: every network that one supernet contains."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qfa_tf.network import Network, Subnet, subnet
from qfa_tf.network.checks import from_fields
from qfa_tf.network.elasticity import ElasticityOptions
from qfa_tf.network.families import DEFAULT, FAMILIES, Family, KerasModel, MobileNetV3
from qfa_tf.space import codec, members, presets
from qfa_tf.space.architecture import Architecture
from qfa_tf.space.errors import InvalidSpaceError
from qfa_tf.space.genes import Fixed, Gene, GenomeLayout, Site
from quantize_configs.arguments import random_generator, whole_number

SCHEMA_VERSION = 1
_FAMILY = "family"


class SearchSpace:
    """The subnets of one elastic network, with the bit-widths of every site.

    A genome holds one int32 per choice that has more than one value, stored as itself (kernel 7,
    ratio 6, resolution 224); genes of skipped blocks are 0. `lookup(name)` finds any choice,
    whether it has a column in the genome or is fixed.

    Args:
      family: Settings of a family, such as `ResNet(...)`. None for `MobileNetV3`.
      **fields: The settings of `MobileNetV3` by name, without a family.

    Attributes:
      family: The settings. Their fields and methods can be read from the space, too: `stages`.
      network: The description that the family made of them; all else follows from it.

    Raises:
      InvalidSpaceError: A value is not allowed, a site of `fixed_bits` does not exist, or both a
        family and fields are given.
    """

    def __init__(self, family: Family | None = None, /, **fields: Any):
        if family is not None and (fields or not isinstance(family, Family)):
            raise InvalidSpaceError(
                "SearchSpace takes the settings of a family alone, as in SearchSpace(ResNet(...)), "
                f"or those of MobileNetV3 by name. Received: {family!r} and {sorted(fields)}"
            )
        if family is None:
            family = from_fields(MobileNetV3, fields, "The settings of MobileNetV3")
        self.family: Family = family
        self.network: Network = self.family.network()

    def __getattr__(self, name: str) -> Any:
        # Found nowhere else: a field or a method of the family.
        if name.startswith("_") or name in ("family", "network"):
            raise AttributeError(name)
        try:
            return getattr(self.family, name)
        except AttributeError:
            raise AttributeError(
                f"Neither SearchSpace nor the settings of {self.family.FAMILY} have {name!r}."
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self.family == other.family

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"SearchSpace({self.family!r})"

    # What all families have.

    @property
    def name(self) -> str:
        """For people and files."""
        return self.family.name

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Input sizes in pixels, ascending."""
        return self.family.resolutions

    @property
    def weight_bits(self) -> tuple[int, ...]:
        """Weight bit-widths that sites which are not fixed offer, ascending."""
        return self.family.weight_bits

    @property
    def activation_bits(self) -> tuple[int, ...]:
        """The same for the input of each site."""
        return self.family.activation_bits

    @property
    def fixed_bits(self) -> Mapping[str, tuple[int, int]]:
        """Maps a site to its only (weight bits, activation bits); 32 stands for float."""
        return self.family.fixed_bits

    @property
    def input_channels(self) -> int:
        """Channels of the images."""
        return self.family.input_channels

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier."""
        return self.family.num_classes

    # Names.

    @functools.cached_property
    def layout(self) -> GenomeLayout:
        """Names and columns of the genomes."""
        return GenomeLayout(self.name, self.network)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites of all block slots, in the order of the network."""
        return self.layout.sites

    @property
    def choices(self) -> tuple[Gene | Fixed, ...]:
        """Every choice in genome order, the fixed ones included."""
        return self.layout.choices

    @property
    def genes(self) -> tuple[Gene, ...]:
        """The choices that have more than one value: the columns of a genome."""
        return self.layout.genes

    @property
    def gene_index(self) -> dict[str, int]:
        """Maps the name of each gene to its column."""
        return self.layout.gene_index

    @property
    def n_genes(self) -> int:
        """Length of a genome."""
        return self.layout.n_genes

    def lookup(self, name: str) -> Gene | Fixed:
        """Returns the choice called `name`; its `read(genome)` gives the value either way.

        Names: `<slot>.kernel_size`, `<slot>.expand_ratio`, `<slot>.width`, the depth of a stage,
        `resolution`, `<site>.weight_bits`, `<site>.activation_bits`.

        Raises:
          GenomeError: The space has no such choice.
        """
        return self.layout.lookup(name)

    def values(self, arch: Architecture) -> dict[str, int]:
        """Returns what `arch` chose by the name of the choice, 0 for genes of skipped blocks.

        Raises:
          ArchitectureError: `arch` is not of this space.
        """
        return self.layout.values(self.encode(arch))

    def subnet(self, arch: Architecture) -> Subnet:
        """Returns the nodes of `arch` with their widths, sizes, kernels and bits.

        Raises:
          ArchitectureError: `arch` is not of this space.
        """
        return subnet(self.network, self.values(arch))

    # Genomes and architectures.

    def encode(self, arch: Architecture) -> np.ndarray:
        """Returns the canonical genome int32[n_genes] of `arch`.

        Raises:
          ArchitectureError: `arch` is not of this space; the message names the part.
        """
        return codec.encode(self.layout, arch)

    def decode(self, genome: np.ndarray) -> Architecture:
        """Returns the architecture of `genome`, int[n_genes], canonical or not.

        Raises:
          GenomeError: See `validate`.
        """
        return codec.decode(self.layout, genome)

    def canonicalize(self, genomes: np.ndarray) -> np.ndarray:
        """Returns int32[n, n_genes] with the genes of skipped blocks set to 0.

        Equal networks have equal canonical genomes. Values are not checked, see `validate`.

        Raises:
          GenomeError: Wrong shape or dtype.
        """
        return codec.canonicalize(self.layout, genomes)

    def validate(self, genomes: np.ndarray) -> None:
        """Checks genomes int[n, n_genes]; genes of skipped blocks may be 0 or any valid value.

        Raises:
          GenomeError: Names the first wrong gene, its value and the allowed values; also for
            genomes of another length.
        """
        codec.validate(self.layout, genomes)

    def size(self) -> int:
        """Returns the exact number of different architectures."""
        return members.size(self.layout)

    def sample_genomes(
        self,
        rng: np.random.Generator | int,
        n: int,
        choices: Sequence[Sequence[int]] | None = None,
    ) -> np.ndarray:
        """Draws each gene uniformly and returns canonical genomes int32[n, n_genes].

        Args:
          rng: Source of randomness, or a seed.
          n: How many.
          choices: Allowed values per gene, from `restrict`; all by default.

        Raises:
          InvalidInputError: No such source, a negative number, or `choices` that are not of the
            genes.
        """
        choices = self.restrict() if choices is None else choices
        count = whole_number("n, the number of genomes,", n)
        return members.sample_genomes(self.layout, random_generator(rng), count, choices)

    def sample(self, rng: np.random.Generator | int) -> Architecture:
        """Draws one architecture, each gene uniformly.

        Args:
          rng: Source of randomness, or a seed.

        Raises:
          InvalidInputError: `rng` is neither.
        """
        return self.decode(self.sample_genomes(rng, 1)[0])

    def largest(self, bits: int | None = None) -> Architecture:
        """Returns the architecture with the largest value of every choice.

        Args:
          bits: Bit-width of all weights and activations that are not fixed; by default the
            largest of each. 32 stands for float.

        Raises:
          GenomeError: `bits` is not offered.
        """
        return self.decode(self._extreme(-1, bits))

    def smallest(self, bits: int | None = None) -> Architecture:
        """Returns the architecture with the smallest value of every choice; see `largest`."""
        return self.decode(self._extreme(0, bits))

    def _extreme(self, position: int, bits: int | None) -> np.ndarray:
        offered = (self.weight_bits, self.activation_bits)
        return members.extreme_genome(self.layout, position, bits, offered)

    def float_twin(self, arch: Architecture) -> Architecture:
        """Returns the same network with 32 (float) wherever bits can be chosen.

        Raises:
          ArchitectureError: `arch` is not of this space.
        """
        return members.float_twin(self.layout, arch)

    def restrict(self, bits: Sequence[int] | None = None) -> tuple[tuple[int, ...], ...]:
        """Returns the values that each gene may take in a search over some bit-widths.

        Genomes keep the encoding of the whole space.

        Args:
          bits: Allowed bit-widths; all by default.

        Raises:
          GenomeError: A gene offers none of `bits`, or no gene offers one of them.
        """
        offered = (*self.weight_bits, *self.activation_bits)
        return members.restrict(self.layout, bits, offered)

    # Files.

    def replace(self, **changes: Any) -> "SearchSpace":
        """Returns a copy with some fields of its settings changed.

        Raises:
          InvalidSpaceError: The settings have no such field, or a value is not allowed.
        """
        # A protocol cannot say that `family` is a dataclass.
        fields = [field.name for field in dataclasses.fields(self.family)]  # type: ignore[arg-type]
        unknown = sorted(set(changes) - set(fields))
        if unknown:
            raise InvalidSpaceError(
                f"The settings of space {self.name!r} are {fields}. Received: {unknown}"
            )
        # A protocol cannot say that `family` is a dataclass.
        return SearchSpace(dataclasses.replace(self.family, **changes))  # type: ignore[type-var]

    def to_json(self) -> str:
        """Returns the space as JSON text with a schema version."""
        # A protocol cannot say that `family` is a dataclass.
        fields = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self.family)}  # type: ignore[call-overload]
        if self.family.FAMILY != DEFAULT:
            fields[_FAMILY] = self.family.FAMILY
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "SearchSpace":
        """Reads what `to_json` wrote.

        Raises:
          InvalidSpaceError: No JSON, another schema version, missing or unknown keys, or values
            that are not allowed.
        """
        try:
            fields = json.loads(text)
        except (TypeError, ValueError) as error:  # TypeError: no text
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
        family = fields.pop(_FAMILY, DEFAULT)
        if not isinstance(family, str) or family not in FAMILIES:
            raise InvalidSpaceError(
                f"The family of a space must be one of {sorted(FAMILIES)}. Received: {family!r}"
            )
        return cls(FAMILIES[family].from_fields(fields))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that tell spaces apart."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @classmethod
    def mobilenet_v3(cls, width_mult: float = 1.0, **options: Any) -> "SearchSpace":
        """Returns the MobileNetV3 space of a width multiplier; see `presets.mobilenet_v3`."""
        return cls(presets.mobilenet_v3(width_mult, **options))

    @classmethod
    def from_preset(cls, name: str) -> "SearchSpace":
        """Returns one of the spaces in `qfa_tf.space.presets`.

        Raises:
          InvalidSpaceError: There is no such preset; the message lists them.
        """
        return cls(presets.make(name))

    @classmethod
    def from_model(
        cls, model: Any, *, pixel_range: tuple[float, float] = (0.0, 1.0), **options: Any
    ) -> "SearchSpace":
        """Returns the space of a functional Keras model; `describe()` says what was found.

        Sites are called as the layers of the model. Without further options the bits of all sites
        but the ends, the widths of channels that are not on a residual path, residual branches with
        an identity as their shortcut, and depthwise kernels of 5 and 7 are elastic.

        Args:
          model: Functional or sequential model, Keras 2 or 3, of square images, with one output; or
            the path of its file.
          pixel_range: What 0 and 1 of an image in this package are for the model; (0, 255) for a
            model of bytes.
          **options: See `qfa_tf.network.elasticity.ElasticityOptions`, such as
            `weight_bits=(4, 8)`, `width_ratios`, `optional_blocks`, `resolutions`, `fixed_bits`.

        Raises:
          UnsupportedError: A layer has no elastic counterpart; the sentence names it.
          InvalidInputError: No functional model, or the options ask for what it has not.
        """
        settings = from_fields(ElasticityOptions, options, "The options of from_model")
        # Reading a model needs Keras, which describing and searching a space do without.
        from qfa_tf.keras_models import as_model, read_model

        reading = read_model(as_model(model), pixel_range)
        return cls(KerasModel.made_elastic(reading.name, reading.network, settings))

    @classmethod
    def presets(cls) -> tuple[str, ...]:
        """Returns the names that `from_preset` knows."""
        return presets.names()
