"""Costs of whole populations of genomes by table lookup."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from qfa_tf.cost.choices import ChoiceReader
from qfa_tf.cost.deployment_costs import DeploymentCosts
from qfa_tf.cost.exact import ExactAccounting
from qfa_tf.cost.latency_table import LatencyTable
from qfa_tf.cost.official import OfficialAccounting
from qfa_tf.cost.site_cost import SiteCost
from qfa_tf.space import Architecture, SearchSpace
from quantize_configs.arguments import instance
from quantize_configs.errors import InvalidInputError

METRICS = ("macs", "mflops_8bit", "bitops", "params", "weight_bytes")
ACCOUNTINGS = ("exact", "official")
_CHUNK = 512
"""Genomes at a time; the arrays of a chunk stay in the second-level cache."""


class UnknownAccountingError(InvalidInputError):
    """There is no such way to count."""


class CostModel:
    """Counts convolutions and squeeze-excite; pooling, additions and activations are free.

    - `macs`: multiply-accumulates.
    - `bitops`: sum of macs * weight bits * activation bits.
    - `mflops_8bit`: bitops / 64 / 1e6, the unit of the QFA paper (https://arxiv.org/abs/2105.08952).
    - `params`: weights, and one bias per output channel of each convolution: as deployed, with
      batch norm folded; this includes `head.mix`, which is trained without a bias.
    - `weight_bytes`: weights * bits / 8 + 4 per bias, packed ideally.

    On demand also `tflite_bytes`, the size of the exported file, and `latency_ms@NAME`, the sum
    of the operators in a latency table.

    What is float in training (squeeze-excite, sites of 32 bits) is charged as 8 bits everywhere:
    the convention of the papers, and how it is deployed by default.

    With accounting "exact" all figures are integers (or eighths) far below 2**53 without error.
    With "official", `macs`, `bitops` and `mflops_8bit` are those of the QFA release, for
    comparison with it, and not of the network that is built (see `qfa_tf.cost.official_entries`);
    `params` and `weight_bytes` stay exact. It is defined for spaces of the structure of
    `SearchSpace.mobilenet_v3(1.2)` only.

    Args:
      space: Search space of the genomes.
      accounting: "exact" or "official".
      latency_tables: By name.

    Raises:
      UnknownAccountingError: Another `accounting`.
      UndefinedAccountingError: "official" for a space that it is not defined for.
    """

    def __init__(
        self,
        space: SearchSpace,
        accounting: str = "exact",
        latency_tables: Mapping[str, LatencyTable] = MappingProxyType({}),
    ):
        if accounting not in ACCOUNTINGS:
            raise UnknownAccountingError(
                f"accounting must be one of {list(ACCOUNTINGS)}. Received: {accounting!r}"
            )
        self.space = instance("space", space, SearchSpace, "SearchSpace.from_preset(name)")
        self.accounting = accounting
        self._reader = ChoiceReader(space)
        kind = ExactAccounting if accounting == "exact" else OfficialAccounting
        self._accounting = kind(space, self._reader)
        self._deployment = DeploymentCosts(space, self._reader, latency_tables)

    @property
    def metrics(self) -> tuple[str, ...]:
        """All costs that can be asked for: METRICS and those of the deployment."""
        return (*METRICS, *self._deployment.metrics)

    def resolve(self, metric: str) -> str:
        """Returns the full name of a cost; `latency_ms` alone is that of the only latency table.

        Raises:
          CostUnavailableError: There is no such cost.
        """
        return metric if metric in METRICS else self._deployment.resolve(metric)

    def evaluate(
        self, genomes: np.ndarray, deployment: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Returns float64[n] for each of METRICS.

        Args:
          genomes: int[n, n_genes], canonical or not (genes of skipped blocks do not count).
          deployment: Deployment costs that are wanted as well, by full name. METRICS are given in
            any case.

        Raises:
          GenomeError: A value or the shape is not one of the space.
          CostUnavailableError: A deployment cost is not known.
        """
        self.space.validate(genomes)
        genomes = np.asarray(genomes)
        deployment = [metric for metric in deployment if metric not in METRICS]
        costs = {metric: np.empty(len(genomes)) for metric in (*METRICS, *deployment)}
        for start in range(0, len(genomes), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            choices = self._reader.read(genomes[chunk])
            for metric, values in self._accounting.evaluate(choices).items():
                costs[metric][chunk] = values
            for metric in deployment:
                costs[metric][chunk] = self._deployment.evaluate(metric, choices)
        costs["mflops_8bit"] = costs["bitops"] / 64 / 1e6
        return costs

    def bounds(self, metric: str, choices: Sequence[Sequence[int]]) -> tuple[float, float]:
        """Returns the exact minimum and maximum of a cost over genomes with these gene values.

        Args:
          metric: One of `metrics`.
          choices: Allowed values per gene, from `SearchSpace.restrict`.

        Raises:
          CostUnavailableError: There is no such cost.
          LatencyTableError: The table misses an operator of these genomes.
        """
        if metric not in METRICS:
            return self._deployment.bounds(metric, choices)
        # They rise with every gene, but for the resolution in the unit of the release.
        extremes = np.array([[values[end] for values in choices] for end in (0, -1)], np.int32)
        column = self.space.gene_index.get(self.space.network.resolution.name)
        if column is not None:
            extremes = np.repeat(extremes, len(choices[column]), axis=0)
            extremes[:, column] = np.tile(choices[column], 2)
        costs = self.evaluate(extremes)[metric]
        return float(costs.min()), float(costs.max())

    def per_site(self, architecture: Architecture) -> list[SiteCost]:
        """Returns the cost of every site of `architecture`, in site order.

        Raises:
          ArchitectureError: It does not belong to the space.
        """
        self.space.encode(architecture)
        return self._accounting.per_site(architecture)
