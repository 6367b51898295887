"""Exact accounting: every multiply-accumulate and every parameter of the network that is built."""

import numpy as np

from qfa_tf.cost.choices import ChoiceReader, Choices, flat_table
from qfa_tf.cost.geometry import Parameters, parameters
from qfa_tf.cost.site_cost import CHARGED_BITS, SiteCost
from qfa_tf.network import Convolution, SqueezeExcite
from qfa_tf.space import FLOAT_BITS, Architecture, SearchSpace


class ExactAccounting:
    """Lookup tables of one space and the arithmetic on them, one row per site.

    Weights per site and per squeeze-excite, and biases per group of nodes, are tables over the
    codes of their shapes; areas are tables over the resolution.

    Args:
      space: Search space of the genomes.
      reader: Of the same space.
    """

    def __init__(self, space: SearchSpace, reader: ChoiceReader):
        self.space = space
        network = space.network
        self._group_of_site = reader.group_of_site
        excites = [node for node in network.nodes if isinstance(node, SqueezeExcite)]
        self._squeeze_groups = [reader.group_of_node[node.name] for node in excites]
        weights = np.zeros((len(network.sites), reader.n_codes))
        squeeze_weights = np.zeros((len(excites), reader.n_codes))
        biases = np.zeros((len(reader.groups), reader.n_codes))
        for nodes, table in ((network.sites, weights), (excites, squeeze_weights)):
            for node, row in zip(nodes, table, strict=True):
                group = reader.group_of_node[node.name]
                for code, chosen in reader.groups[group].shapes():
                    sizes = parameters(network, node, chosen)
                    row[code] = sizes.weights
                    biases[group, code] += sizes.biases
        self._weights, self._weight_offsets = flat_table(weights)
        self._biases, self._bias_offsets = flat_table(biases)
        self._squeeze_weights, self._squeeze_offsets = flat_table(squeeze_weights)
        self._areas = np.array(
            [[network.size(s.name, r) ** 2 for r in space.resolutions] for s in network.sites],
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
        space = self.space
        chosen = space.values(architecture)
        rows = []
        for part in space.subnet(architecture).nodes:
            sizes = parameters(space.network, part.node, chosen)
            if isinstance(part.node, Convolution) and part.bits is not None:
                rows.append(_row(part.node.name, part.size, sizes, part.bits))
            elif isinstance(part.node, SqueezeExcite):  # its convolutions see one position
                rows.append(_row(part.node.name, 1, sizes, (FLOAT_BITS, FLOAT_BITS)))
        return rows

    def _count_weights(self, choices: Choices) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weights per site, [sites, n], and those of all squeeze-excites, [n]."""
        weights = self._weights.take(choices.codes[self._group_of_site] + self._weight_offsets)
        squeeze_codes = choices.codes[self._squeeze_groups] + self._squeeze_offsets
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


def _row(site: str, size: int, sizes: Parameters, bits: tuple[int, int]) -> SiteCost:
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
