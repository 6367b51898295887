"""What to search for, from a config and the flags that change it."""

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from qfa_tf.cost import CostModel, LatencyTable, LatencyTableError
from qfa_tf.runs.errors import RunError
from qfa_tf.search.predictors import KINDS as PREDICTORS
from qfa_tf.space import SearchSpace
from quantize_configs.errors import InvalidInputError
from quantize_configs.options import check_options, option

if TYPE_CHECKING:
    from qfa_tf.search import Strategy

STRATEGIES = ("nsga2", "predictor", "refine", "random", "predicted")
"""The names in `qfa_tf.search.STRATEGIES`, and that of `PredictedFront`; those import pymoo."""

ACCURACY = "accuracy"


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What to search for.

    Raises:
      RunError: A value is not allowed.
    """

    constraints: tuple[str, ...] = option((), "budgets, such as `mflops_8bit<=20`")
    objective: str = option("mflops_8bit", "the cost that is traded against accuracy")
    population: int = option(40, "subnets per generation", minimum=2)
    generations: int = option(10, "of NSGA-II, the first population included", minimum=1)
    max_bits: int = option(8, "most bits of any site")
    seed: int = option(0, "of the search")
    strategy: str = option("nsga2", "how subnets are found", choices=STRATEGIES)
    evaluations: int = option(
        0, "subnets to measure; 0 for population times generations", minimum=0
    )
    minimize: bool = option(False, "only the cheapest subnet that keeps the budgets is wanted")
    uniform_bits: bool = option(False, "one bit-width per subnet")
    latency_tables: tuple[str, ...] = option((), "files of measured operators")
    predictor: str = option("mlp", "what predicts accuracies", choices=PREDICTORS)
    predictor_population: int = option(500, "subnets per generation on predictions", minimum=2)
    predictor_generations: int = option(200, "generations on predictions", minimum=1)
    sample_share: float = option(
        0.5, "share of the evaluations for samples of the predictor", above=0, below=1
    )
    sample_images: int = option(0, "images for samples; 0 for all", minimum=0)
    sensitivity: bool = option(True, "whether sensitivities of sites are measured first")

    def __post_init__(self):
        try:
            check_options(self)
        except InvalidInputError as error:
            raise RunError(str(error)) from None

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

    def build_strategy(self) -> "Strategy":
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
