"""Costs that depend on the deployment: bytes of the exported file, latency on devices."""

from collections.abc import Mapping, Sequence

import numpy as np

from qfa_tf.cost.choices import ChoiceReader, Choices
from qfa_tf.cost.errors import CostUnavailableError
from qfa_tf.cost.latency_table import LatencyTable, latency
from qfa_tf.cost.site_tables import SiteTable
from qfa_tf.cost.tflite_size import tflite_size
from qfa_tf.space import SearchSpace

TFLITE_BYTES = "tflite_bytes"
LATENCY = "latency_ms"


class DeploymentCosts:
    """Tables of the deployment costs of one space, made when they are first asked for.

    Args:
      space: Search space.
      reader: Of the same space.
      latency_tables: By name.
    """

    def __init__(
        self,
        space: SearchSpace,
        reader: ChoiceReader,
        latency_tables: Mapping[str, LatencyTable],
    ):
        self._space = space
        self._reader = reader
        self._latency_tables = dict(latency_tables)
        self._tables: dict[str, SiteTable] = {}

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the costs."""
        return (TFLITE_BYTES, *(f"{LATENCY}@{name}" for name in self._latency_tables))

    def resolve(self, metric: str) -> str:
        """Returns the full name of a metric: `latency_ms` alone is that of the only table.

        Raises:
          CostUnavailableError: There is no such cost.
        """
        if metric == LATENCY and len(self._latency_tables) == 1:
            return f"{LATENCY}@{next(iter(self._latency_tables))}"
        if metric in self.metrics:
            return metric
        if metric.split("@")[0] == LATENCY:
            tables = sorted(self._latency_tables)
            given = f"The latency tables given are {tables}" if tables else "No table was given"
            raise CostUnavailableError(
                f"{metric} needs a latency table of that name, as in latency_ms@pixel8 with "
                f"--latency_table=pixel8.json. {given}."
            )
        raise CostUnavailableError(
            f"There is no cost {metric!r}; the costs are macs, mflops_8bit, bitops, params, "
            f"weight_bytes, {', '.join(self.metrics)}."
        )

    def evaluate(self, metric: str, choices: Choices) -> np.ndarray:
        """Returns float64[n]."""
        return self._table(metric).total(choices)

    def bounds(self, metric: str, choices: Sequence[Sequence[int]]) -> tuple[float, float]:
        """Returns minimum and maximum over all genomes with these values per gene.

        Raises:
          LatencyTableError: A table misses an operator of these genomes.
        """
        name = self.resolve(metric).partition("@")[2]
        if name:
            self._latency_tables[name].require(self._space, choices)
        return self._table(metric).bounds(choices)

    def _table(self, metric: str) -> SiteTable:
        metric = self.resolve(metric)
        if metric not in self._tables:
            name = metric.partition("@")[2]
            self._tables[metric] = (
                latency(self._space, self._reader, self._latency_tables[name])
                if name
                else tflite_size(self._space, self._reader)
            )
        return self._tables[metric]
