"""Sites and choices: the names by which cost model, supernet and search address a space."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qfa_tf.space.space import SearchSpace


@dataclasses.dataclass(frozen=True)
class Site:
    """A convolution with a quantizer for its weights and one for its input.

    Attributes:
      name: `stem`, `s1.b0.expand`, `s1.b0.depthwise`, `s1.b0.project`, `head.expand`, `head.mix`
        or `classifier`.
      kind: "convolution", "depthwise", "pointwise" or "dense".
      stage: Index of the stage, None outside the stages.
      block: Index of the block slot in its stage, None outside the stages.
      weight_bits: Bit-widths to choose from; one value at a fixed site.
      activation_bits: The same for the input of the convolution.
    """

    name: str
    kind: str
    stage: int | None
    block: int | None
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Gene:
    """A choice among several values, stored as itself in one column of the genome.

    Attributes:
      name: For example `s1.b0.kernel_size`, `s1.depth`, `resolution`, `stem.weight_bits`.
      choices: The values, ascending.
      column: Its place in the genome.
      stage: Stage of a gene that belongs to one block slot, else None.
      block: Block slot of such a gene, else None.
    """

    name: str
    choices: tuple[int, ...]
    column: int
    stage: int | None = None
    block: int | None = None

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
    """

    name: str
    value: int

    @property
    def choices(self) -> tuple[int, ...]:
        """The value as the only choice."""
        return (self.value,)

    def read(self, genome: Any) -> int:
        """Returns the value, whatever `genome` is; also for a block that is skipped."""
        del genome
        return self.value


def build_sites(space: "SearchSpace") -> tuple[Site, ...]:
    """Returns the sites of all block slots, from the stem to the classifier."""

    def site(name, kind, stage=None, block=None):
        fixed = space.fixed_bits.get(name)
        weight_bits = space.weight_bits if fixed is None else fixed[:1]
        activation_bits = space.activation_bits if fixed is None else fixed[1:]
        return Site(name, kind, stage, block, weight_bits, activation_bits)

    sites = [site("stem", "convolution")]
    for s, stage in enumerate(space.stages):
        for b in range(stage.max_depth):
            if stage.has_expand:
                sites.append(site(f"s{s}.b{b}.expand", "pointwise", s, b))
            sites.append(site(f"s{s}.b{b}.depthwise", "depthwise", s, b))
            sites.append(site(f"s{s}.b{b}.project", "pointwise", s, b))
    sites.append(site("head.expand", "pointwise"))
    if space.head.mix_width is not None:
        sites.append(site("head.mix", "pointwise"))
    sites.append(site("classifier", "dense"))
    return tuple(sites)


def build_choices(space: "SearchSpace") -> tuple[Gene | Fixed, ...]:
    """Returns every choice of the space in genome order.

    Kernel sizes of all block slots, expand ratios of all block slots, depth per stage, resolution,
    then weight bits and activation bits of each site.
    """
    choices: list[Gene | Fixed] = []
    column = 0
    for name, values, stage, block in _named_choices(space):
        if len(values) == 1:
            choices.append(Fixed(name, values[0]))
        else:
            choices.append(Gene(name, values, column, stage, block))
            column += 1
    return tuple(choices)


def _named_choices(
    space: "SearchSpace",
) -> Iterator[tuple[str, tuple[int, ...], int | None, int | None]]:
    for field, name in (("kernel_sizes", "kernel_size"), ("expand_ratios", "expand_ratio")):
        for s, stage in enumerate(space.stages):
            for b in range(stage.max_depth):
                yield f"s{s}.b{b}.{name}", getattr(stage, field), s, b
    for s, stage in enumerate(space.stages):
        yield f"s{s}.depth", stage.depths, None, None
    yield "resolution", space.resolutions, None, None
    for site in space.sites:
        yield f"{site.name}.weight_bits", site.weight_bits, site.stage, site.block
        yield f"{site.name}.activation_bits", site.activation_bits, site.stage, site.block
