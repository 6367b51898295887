"""Costs of whole populations of genomes by table lookup."""

import dataclasses

import numpy as np

from qfa_tf.cost.geometry import convolution, output_size
from qfa_tf.space import Architecture, Fixed, SearchSpace

METRICS = ("macs", "mflops_8bit", "bitops", "params", "weight_bytes")
ACCOUNTINGS = ("exact",)
_CHUNK = 512
"""Genomes at a time; the arrays of a chunk stay in the second-level cache."""


class UnknownAccountingError(ValueError):
    """There is no such way to count."""


@dataclasses.dataclass(frozen=True)
class SiteCost:
    """Cost of one site of one architecture.

    Attributes:
      site: Its name.
      output_size: Height and width of the output.
      macs: Multiply-accumulates.
      weight_bits: Bits of a weight.
      activation_bits: Bits of an input value.
      mflops_8bit: macs * weight_bits * activation_bits / 64 / 1e6.
      params: Weights and biases.
      weight_bytes: weights * weight_bits / 8 + 4 per bias.
    """

    site: str
    output_size: int
    macs: int
    weight_bits: int
    activation_bits: int
    mflops_8bit: float
    params: int
    weight_bytes: float


class CostModel:
    """Counts the convolutions of subnets; pooling, additions and activations are free.

    - `macs`: multiply-accumulates.
    - `bitops`: sum of macs * weight bits * activation bits.
    - `mflops_8bit`: bitops / 64 / 1e6, the unit of the QFA paper (https://arxiv.org/abs/2105.08952).
    - `params`: weights, and one bias per output channel of each convolution: as deployed, with
      batch norm folded; this includes `head.mix`, which is trained without a bias.
    - `weight_bytes`: weights * bits / 8 + 4 per bias, packed ideally.

    Float (32 bits) is charged as 32. All figures are exact: they are integers (or eighths) far
    below 2**53.

    Args:
      space: Search space of the genomes.
      accounting: "exact".

    Raises:
      UnknownAccountingError: Another `accounting`.
    """

    def __init__(self, space: SearchSpace, accounting: str = "exact"):
        if accounting not in ACCOUNTINGS:
            raise UnknownAccountingError(
                f"accounting must be one of {list(ACCOUNTINGS)}. Received: {accounting!r}"
            )
        self.space = space
        self.accounting = accounting
        self._tables = _Tables(space)

    def evaluate(self, genomes: np.ndarray) -> dict[str, np.ndarray]:
        """Returns float64[n] for each of METRICS.

        Args:
          genomes: int[n, n_genes], canonical or not (genes of skipped blocks do not count).

        Raises:
          GenomeError: A value or the shape is not one of the space.
        """
        self.space.validate(genomes)
        genomes = np.asarray(genomes)
        costs = {metric: np.empty(len(genomes)) for metric in METRICS}
        for start in range(0, len(genomes), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            for metric, values in self._tables.evaluate(genomes[chunk]).items():
                costs[metric][chunk] = values
        return costs

    def per_site(self, architecture: Architecture) -> list[SiteCost]:
        """Returns the cost of every site of `architecture`, in site order.

        Raises:
          ArchitectureError: It does not belong to the space.
        """
        self.space.encode(architecture)
        bits = architecture.site_bits
        rows = []
        for site in self.space.sites:
            if site.name not in bits:
                continue
            block = None if site.stage is None else architecture.stages[site.stage][site.block]
            shape = (block.kernel_size, block.expand_ratio) if block else ()
            weights, biases = convolution(self.space, site, *shape)
            size = output_size(self.space, site, architecture.resolution)
            macs = weights * size**2
            weight_bits, activation_bits = bits[site.name]
            rows.append(
                SiteCost(
                    site=site.name,
                    output_size=size,
                    macs=macs,
                    weight_bits=weight_bits,
                    activation_bits=activation_bits,
                    mflops_8bit=macs * weight_bits * activation_bits / 64 / 1e6,
                    params=weights + biases,
                    weight_bytes=weights * weight_bits / 8 + 4 * biases,
                )
            )
        return rows


class _Tables:
    """Lookup tables of one space and the arithmetic on them, one row per site.

    Every choice becomes a row of a matrix [choices, n], whether it is a gene or fixed; all further
    steps select rows. A block slot has a code that says what it is: 0 when skipped, else
    expand_ratio * 8 + kernel_size (kernels are at most 7). Weights per site and biases per slot
    are tables over that code; areas are tables over the resolution.
    """

    def __init__(self, space: SearchSpace):
        self.n_genes = space.n_genes
        fixed = [choice for choice in space.choices if isinstance(choice, Fixed)]
        self.fixed = np.array([choice.value for choice in fixed], np.int32)
        row = {choice.name: self.n_genes + i for i, choice in enumerate(fixed)}
        row.update(space.gene_index)
        slots = [(s, b) for s, stage in enumerate(space.stages) for b in range(stage.max_depth)]
        self.kernel_rows = [row[f"s{s}.b{b}.kernel_size"] for s, b in slots]
        self.ratio_rows = [row[f"s{s}.b{b}.expand_ratio"] for s, b in slots]
        self.depth_rows = [row[f"s{s}.depth"] for s, _ in slots]
        self.blocks = np.array([b for _, b in slots])[:, None]
        self.weight_rows = [row[f"{site.name}.weight_bits"] for site in space.sites]
        self.activation_rows = [row[f"{site.name}.activation_bits"] for site in space.sites]
        self.resolution_row = row["resolution"]

        # Sites outside the stages share a last code row that is always 0: their sizes stand there.
        codes = 8 * max(stage.expand_ratios[-1] for stage in space.stages) + 8
        self.slot_of_site = [
            len(slots) if site.stage is None else slots.index((site.stage, site.block))
            for site in space.sites
        ]
        weights = np.zeros((len(space.sites), codes))
        biases = np.zeros((len(space.sites), codes))
        for i, site in enumerate(space.sites):
            if site.stage is None:
                weights[i, 0], biases[i, 0] = convolution(space, site)
                continue
            stage = space.stages[site.stage]
            for ratio in stage.expand_ratios:
                for kernel in stage.kernel_sizes:
                    code = ratio * 8 + kernel
                    weights[i, code], biases[i, code] = convolution(space, site, kernel, ratio)
        self.weights = weights.ravel()
        self.weight_offsets = np.arange(len(space.sites))[:, None] * codes
        slot_biases = np.zeros((len(slots) + 1, codes))
        np.add.at(slot_biases, self.slot_of_site, biases)
        self.biases = slot_biases.ravel()
        self.bias_offsets = np.arange(len(slots) + 1)[:, None] * codes

        self.resolutions = np.array(space.resolutions)
        self.areas = np.array(
            [
                [output_size(space, site, resolution) ** 2 for resolution in space.resolutions]
                for site in space.sites
            ],
            np.float64,
        )

    def evaluate(self, genomes: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the five costs of valid genomes [n, n_genes]."""
        n = len(genomes)
        values = np.empty((self.n_genes + len(self.fixed), n), np.int32)
        values[: self.n_genes] = genomes.T
        values[self.n_genes :] = self.fixed[:, None]

        codes = np.zeros((len(self.blocks) + 1, n), np.intp)
        codes[:-1] = values[self.ratio_rows] * 8 + values[self.kernel_rows]
        codes[:-1] *= values[self.depth_rows] > self.blocks
        biases = self.biases[codes + self.bias_offsets].sum(axis=0)
        weights = self.weights[codes[self.slot_of_site] + self.weight_offsets]

        resolution = np.searchsorted(self.resolutions, values[self.resolution_row])
        macs = weights * self.areas[:, resolution]
        weight_bits = values[self.weight_rows].astype(np.float64)
        bitops = np.einsum("sn,sn,sn->n", macs, weight_bits, values[self.activation_rows])
        bits = np.einsum("sn,sn->n", weights, weight_bits)
        return {
            "macs": macs.sum(axis=0),
            "mflops_8bit": bitops / 64 / 1e6,
            "bitops": bitops,
            "params": weights.sum(axis=0) + biases,
            "weight_bytes": bits / 8 + 4 * biases,
        }
