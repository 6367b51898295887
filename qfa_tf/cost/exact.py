"""Exact accounting: every multiply-accumulate and every parameter of the network that is built."""

import numpy as np

from qfa_tf.cost.choices import ChoiceReader, Choices, block_choices, block_code, flat_table
from qfa_tf.cost.geometry import Convolution, convolution, output_size, squeeze_excite
from qfa_tf.cost.site_cost import CHARGED_BITS, SiteCost
from qfa_tf.space import FLOAT_BITS, Architecture, SearchSpace


class ExactAccounting:
    """Lookup tables of one space and the arithmetic on them, one row per site.

    Weights per site, and biases and squeeze-excite per block slot, are tables over the block codes;
    areas are tables over the resolution.

    Args:
      space: Search space of the genomes.
      reader: Of the same space.
    """

    def __init__(self, space: SearchSpace, reader: ChoiceReader):
        self.space = space
        self._slot_of_site = reader.slot_of_site
        weights = np.zeros((len(space.sites), reader.n_codes))
        slot_biases = np.zeros((len(reader.slots) + 1, reader.n_codes))
        for i, site in enumerate(space.sites):
            slot = reader.slot_of_site[i]
            if site.stage is None:
                weights[i, 0], biases = convolution(space, site)
                slot_biases[slot, 0] += biases
                continue
            for kernel_size, expand_ratio in block_choices(space, site.stage):
                code = block_code(kernel_size, expand_ratio)
                sizes = convolution(space, site, kernel_size, expand_ratio)
                weights[i, code] = sizes.weights
                slot_biases[slot, code] += sizes.biases
        self._squeeze_slots = [
            slot for slot, (s, _) in enumerate(reader.slots) if space.stages[s].squeeze_excite
        ]
        squeeze_weights = np.zeros((len(self._squeeze_slots), reader.n_codes))
        for i, slot in enumerate(self._squeeze_slots):
            stage, block = reader.slots[slot]
            for kernel_size, expand_ratio in block_choices(space, stage):
                code = block_code(kernel_size, expand_ratio)
                sizes = squeeze_excite(space, stage, block, expand_ratio)
                squeeze_weights[i, code] = sizes.weights
                slot_biases[slot, code] += sizes.biases
        self._weights, self._weight_offsets = flat_table(weights)
        self._biases, self._bias_offsets = flat_table(slot_biases)
        self._squeeze_weights, self._squeeze_offsets = flat_table(squeeze_weights)
        self._areas = np.array(
            [
                [output_size(space, site, resolution) ** 2 for resolution in space.resolutions]
                for site in space.sites
            ],
            np.float64,
        )

    def evaluate(self, choices: Choices) -> dict[str, np.ndarray]:
        """Returns float64[n] for `macs`, `bitops`, `params` and `weight_bytes`."""
        weights, squeeze = self._count_weights(choices)
        macs = weights * self._areas[:, choices.resolution]
        bitops = np.einsum("sn,sn,sn->n", macs, choices.weight_bits, choices.activation_bits)
        return {
            "macs": macs.sum(axis=0) + squeeze,
            "bitops": bitops + CHARGED_BITS**2 * squeeze,
            **self._storage(choices, weights, squeeze),
        }

    def storage(self, choices: Choices) -> dict[str, np.ndarray]:
        """Returns float64[n] for `params` and `weight_bytes`."""
        return self._storage(choices, *self._count_weights(choices))

    def per_site(self, architecture: Architecture) -> list[SiteCost]:
        """Returns the cost of every site of an architecture of the space, in site order."""
        space, bits = self.space, architecture.site_bits
        rows = []
        for site in space.sites:
            if site.name not in bits:
                continue
            block = None if site.stage is None else architecture.stages[site.stage][site.block]
            shape = (block.kernel_size, block.expand_ratio) if block else ()
            size = output_size(space, site, architecture.resolution)
            rows.append(_row(site.name, size, convolution(space, site, *shape), bits[site.name]))
            if site.kind == "depthwise" and space.stages[site.stage].squeeze_excite:
                sizes = squeeze_excite(space, site.stage, site.block, block.expand_ratio)
                name = f"s{site.stage}.b{site.block}.se"
                rows.append(_row(name, 1, sizes, (FLOAT_BITS, FLOAT_BITS)))
        return rows

    def _count_weights(self, choices: Choices) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weights per site, [sites, n], and those of all squeeze-excites, [n]."""
        weights = self._weights.take(choices.codes[self._slot_of_site] + self._weight_offsets)
        squeeze_codes = choices.codes[self._squeeze_slots] + self._squeeze_offsets
        return weights, self._squeeze_weights.take(squeeze_codes).sum(axis=0)

    def _storage(
        self, choices: Choices, weights: np.ndarray, squeeze: np.ndarray
    ) -> dict[str, np.ndarray]:
        biases = self._biases.take(choices.codes + self._bias_offsets).sum(axis=0)
        bits = np.einsum("sn,sn->n", weights, choices.weight_bits) + CHARGED_BITS * squeeze
        return {
            "params": weights.sum(axis=0) + squeeze + biases,
            "weight_bytes": bits / 8 + 4 * biases,
        }


def _row(site: str, size: int, sizes: Convolution, bits: tuple[int, int]) -> SiteCost:
    weight_bits, activation_bits = (min(value, CHARGED_BITS) for value in bits)
    macs = sizes.weights * size**2
    return SiteCost(
        site=site,
        output_size=size,
        macs=macs,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        mflops_8bit=macs * weight_bits * activation_bits / 64 / 1e6,
        params=sizes.weights + sizes.biases,
        weight_bytes=sizes.weights * weight_bits / 8 + 4 * sizes.biases,
    )
