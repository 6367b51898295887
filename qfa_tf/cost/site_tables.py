"""Figures that are a sum over sites, each a function of what was chosen there, as a table."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from qfa_tf.cost.choices import ChoiceReader, Choices, block_choices, block_code
from qfa_tf.cost.site_cost import CHARGED_BITS
from qfa_tf.space import SearchSpace, Site


class Setting(NamedTuple):
    """What a genome chose at a site.

    Attributes:
      resolution: Of the network's input.
      kernel_size: Of the block; 1 outside the stages.
      expand_ratio: Of the block; 1 outside the stages.
      weight_bits: At most 8.
      activation_bits: Of the input of the site, at most 8.
    """

    resolution: int
    kernel_size: int
    expand_ratio: int
    weight_bits: int
    activation_bits: int


class SiteTable:
    """Sums a figure over the active sites of whole populations.

    Args:
      space: Search space.
      reader: Of the same space.
      figure: The figure of a site under a setting.
      constant: Added to every sum.
      by_resolution: Whether `figure` depends on the resolution.
    """

    def __init__(
        self,
        space: SearchSpace,
        reader: ChoiceReader,
        figure: Callable[[Site, Setting], float],
        *,
        constant: float = 0.0,
        by_resolution: bool = False,
    ):
        self._space = space
        self._constant = constant
        self._slot_of_site = reader.slot_of_site
        self._resolutions = space.resolutions if by_resolution else space.resolutions[-1:]
        bits = sorted({min(b, CHARGED_BITS) for s in space.sites for b in _all_bits(s)})
        self._bits_index = np.zeros(CHARGED_BITS + 1, np.intp)
        self._bits_index[bits] = np.arange(len(bits))
        blocks = {choice for s in range(len(space.stages)) for choice in block_choices(space, s)}
        self._blocks = {block: i + 1 for i, block in enumerate(sorted(blocks))}
        # Code 0 is a skipped block at the sites of the stages, and "always there" at the others.
        self._block_index = np.zeros(reader.n_codes, np.intp)
        for block, index in self._blocks.items():
            self._block_index[block_code(*block)] = index
        shape = (len(space.sites), len(self._resolutions), len(blocks) + 1, len(bits), len(bits))
        self._table = np.zeros(shape)
        for i, site in enumerate(space.sites):
            shapes = [(1, 1)] if site.stage is None else block_choices(space, site.stage)
            options = (self._resolutions, shapes, site.weight_bits, site.activation_bits)
            for resolution, block, *pair in itertools.product(*map(tuple, options)):
                weight, activation = (min(value, CHARGED_BITS) for value in pair)
                setting = Setting(resolution, *block, weight, activation)
                self._table[i][self._position(site, setting)] = figure(site, setting)
        self._strides = np.array(shape).cumprod()[-1] // np.array(shape).cumprod()

    def _position(self, site: Site, setting: Setting) -> tuple[int, ...]:
        block = 0
        if site.stage is not None:
            block = self._blocks[setting.kernel_size, setting.expand_ratio]
        return (
            self._resolutions.index(setting.resolution) if len(self._resolutions) > 1 else 0,
            block,
            self._bits_index[min(setting.weight_bits, CHARGED_BITS)],
            self._bits_index[min(setting.activation_bits, CHARGED_BITS)],
        )

    def total(self, choices: Choices) -> np.ndarray:
        """Returns float64[n] for the choices of n genomes."""
        site_stride, resolution_stride, block_stride, weight_stride, _ = self._strides
        index = self._block_index.take(choices.codes)[self._slot_of_site] * block_stride
        index += np.arange(len(index))[:, None] * site_stride
        index += self._bits_index.take(choices.weight_bits.astype(np.intp)) * weight_stride
        index += self._bits_index.take(choices.activation_bits.astype(np.intp))
        if len(self._resolutions) > 1:
            index += choices.resolution * resolution_stride
        return self._table.ravel().take(index).sum(axis=0) + self._constant

    def figure(self, site: Site, setting: Setting) -> float:
        """Returns the figure of one site."""
        return float(self._table[self._space.sites.index(site)][self._position(site, setting)])

    def bounds(self, choices: Sequence[Sequence[int]]) -> tuple[float, float]:
        """Returns the exact minimum and maximum over all genomes with these values per gene.

        Given the resolution, blocks are independent of each other, and given the shape of a
        block, so are the bits of its sites.

        Args:
          choices: Allowed values per gene, from `SearchSpace.restrict`.
        """
        return self._extreme(choices, min), self._extreme(choices, max)

    def _extreme(self, choices, best) -> float:
        space = self._space

        def allowed(name: str) -> Sequence[int]:
            column = space.gene_index.get(name)
            return space.lookup(name).choices if column is None else choices[column]

        def site_value(site: Site, resolution: int, block: tuple[int, int]) -> float:
            pairs = itertools.product(
                allowed(f"{site.name}.weight_bits"), allowed(f"{site.name}.activation_bits")
            )
            return best(self.figure(site, Setting(resolution, *block, *pair)) for pair in pairs)

        def block_value(sites: list[Site], resolution: int) -> float:
            prefix = f"s{sites[0].stage}.b{sites[0].block}"
            shapes = itertools.product(
                allowed(f"{prefix}.kernel_size"), allowed(f"{prefix}.expand_ratio")
            )
            return best(
                sum(site_value(site, resolution, shape) for site in sites) for shape in shapes
            )

        def value(resolution: int) -> float:
            total = self._constant
            total += sum(
                site_value(site, resolution, (1, 1)) for site in space.sites if site.stage is None
            )
            for s, stage in enumerate(space.stages):
                blocks = [
                    block_value(
                        [site for site in space.sites if (site.stage, site.block) == (s, b)],
                        resolution,
                    )
                    for b in range(stage.max_depth)
                ]
                total += best(sum(blocks[:depth]) for depth in allowed(f"s{s}.depth"))
            return total

        resolutions = allowed("resolution") if len(self._resolutions) > 1 else self._resolutions
        return best(value(resolution) for resolution in resolutions)


def _all_bits(site: Site) -> tuple[int, ...]:
    return (*site.weight_bits, *site.activation_bits)
