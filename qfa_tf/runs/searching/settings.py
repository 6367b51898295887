"""What to search for, from a config and the flags that change it."""

import dataclasses
import os
from typing import Any

from ml_collections import ConfigDict

from qfa_tf.cost import CostModel, LatencyTable, LatencyTableError
from qfa_tf.runs.errors import RunError
from qfa_tf.search import Strategy
from qfa_tf.space import SearchSpace

STRATEGIES = ("nsga2", "predictor", "refine", "random", "predicted")
PREDICTORS = ("mlp", "gp")
ACCURACY = "accuracy"


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What to search for.

    Attributes:
      constraints: Such as "mflops_8bit<=0.1".
      objective: Cost to minimise beside the error.
      max_bits: Search only bit-widths up to this one.
      seed: Of the search.
      population: Of NSGA-II on measurements, at least 2.
      generations: Of NSGA-II on measurements, the first population included.
      strategy: One of STRATEGIES.
      evaluations: Budget of exact evaluations; 0 for population times generations.
      minimize: Whether to choose the cheapest subnet within the constraints, not the most accurate.
      uniform_bits: Whether all weights and activations have one bit-width.
      latency_tables: Paths of JSON files.
      predictor: One of PREDICTORS.
      predictor_population: Of NSGA-II on predictions.
      predictor_generations: Of NSGA-II on predictions.
      sample_share: Part of the budget that is spent on samples for the predictor.
      sample_images: Images that samples are measured on first; 0 for all.
      sensitivity: Whether to measure the chosen subnet with each bit-width changed.

    Raises:
      RunError: A value is not allowed.
    """

    constraints: tuple[str, ...]
    objective: str
    max_bits: int
    seed: int
    population: int
    generations: int
    strategy: str = "nsga2"
    evaluations: int = 0
    minimize: bool = False
    uniform_bits: bool = False
    latency_tables: tuple[str, ...] = ()
    predictor: str = "mlp"
    predictor_population: int = 500
    predictor_generations: int = 200
    sample_share: float = 0.5
    sample_images: int = 0
    sensitivity: bool = True

    def __post_init__(self):
        for name, value, allowed in (
            ("strategy", self.strategy, STRATEGIES),
            ("predictor", self.predictor, PREDICTORS),
        ):
            if value not in allowed:
                raise RunError(f"{name} must be one of {allowed}. Received: {value!r}.")
        if self.population < 2 or self.generations < 1 or self.evaluations < 0:
            raise RunError(
                "population must be at least 2, generations at least 1 and evaluations at least "
                f"0. Received: {self.population}, {self.generations} and {self.evaluations}."
            )
        if not 0 < self.sample_share < 1:
            raise RunError(
                f"sample_share must be between 0 and 1. Received: {self.sample_share!r}."
            )

    @classmethod
    def from_config(cls, config: ConfigDict, **changes) -> "SearchSettings":
        """The settings of a config, apart from those of `changes` that are not None."""
        settings = config.search.to_dict()
        settings |= {key: value for key, value in changes.items() if value is not None}
        for name in ("constraints", "latency_tables"):
            if name in settings:
                settings[name] = tuple(settings[name])
        return cls(**settings)

    def request(self) -> dict[str, Any]:
        """What distinguishes this search from others, in JSON types."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "sensitivity"  # only the report has more or less
        }

    @property
    def budget(self) -> int:
        """Exact evaluations."""
        return self.evaluations or self.population * self.generations

    def bits(self, space: SearchSpace) -> tuple[int, ...]:
        """Bit-widths of a space that are searched.

        Raises:
          RunError: The space has none so small.
        """
        offered = sorted(set(space.weight_bits) | set(space.activation_bits))
        bits = tuple(value for value in offered if value <= self.max_bits)
        if not bits:
            raise RunError(
                f"The bit-widths of space {space.name!r} are {offered}. Received: "
                f"max_bits={self.max_bits}, which excludes all of them."
            )
        return bits

    def cost_model(self, space: SearchSpace) -> CostModel:
        """The cost model with the latency tables.

        Raises:
          LatencyTableError: A table cannot be read, or two have one name.
        """
        tables = {}
        for path in self.latency_tables:
            table = LatencyTable.load(os.path.expanduser(path))
            if table.name in tables:
                raise LatencyTableError(f"Two latency tables are called {table.name!r}.")
            tables[table.name] = table
        return CostModel(space, latency_tables=tables)

    def build_strategy(self) -> Strategy:
        """The strategy; "predicted" needs a predictor and is built elsewhere."""
        from qfa_tf.search import ExactNSGA2, IterativeRefinement, PredictorGuided, RandomSearch

        if self.strategy == "nsga2":
            return ExactNSGA2(self.population, None if self.evaluations else self.generations)
        if self.strategy == "random":
            return RandomSearch(self.budget)
        kind = PredictorGuided if self.strategy == "predictor" else IterativeRefinement
        return kind(
            evaluations=max(2, self.budget),
            sample_share=self.sample_share,
            sample_images=self.sample_images,
            predictor=self.predictor,
            population=self.predictor_population,
            generations=self.predictor_generations,
        )
