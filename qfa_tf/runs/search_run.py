"""Searching the supernet of a workdir: what `apps/search.py` does."""

import dataclasses
import time

import rich.console
from ml_collections import ConfigDict

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.runs.building import build_space
from qfa_tf.runs.checkpoints import require_newest
from qfa_tf.runs.errors import RunError
from qfa_tf.runs.evaluator import workdir_evaluator
from qfa_tf.runs.messages import say
from qfa_tf.runs.probes import evaluate_uniform, uniform_genomes
from qfa_tf.runs.workdir import Workdir
from qfa_tf.search import (
    EvaluationStore,
    Reference,
    SearchResult,
    StoredEvaluator,
    check_feasible,
    parse_constraints,
    search,
    write_report,
)
from qfa_tf.space import SearchSpace


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What to search for.

    Attributes:
      constraints: Such as "mflops_8bit<=0.1".
      objective: Cost metric to minimise beside the error.
      population: Size, at least 2.
      generations: How many, the first population included.
      max_bits: Search only bit-widths up to this one.
      seed: Of the search.

    Raises:
      RunError: A value is not allowed.
    """

    constraints: tuple[str, ...]
    objective: str
    population: int
    generations: int
    max_bits: int
    seed: int

    def __post_init__(self):
        if self.objective not in METRICS:
            raise RunError(f"objective must be one of {METRICS}. Received: {self.objective!r}.")
        if self.population < 2 or self.generations < 1:
            raise RunError(
                "population must be at least 2 and generations at least 1. Received: "
                f"{self.population} and {self.generations}."
            )

    @classmethod
    def from_config(cls, config: ConfigDict, **changes) -> "SearchSettings":
        """The settings of a config, apart from those of `changes` that are not None."""
        settings = config.search.to_dict()
        settings |= {key: value for key, value in changes.items() if value is not None}
        settings["constraints"] = tuple(settings["constraints"])
        return cls(**settings)

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


def search_workdir(
    workdir: Workdir, settings: SearchSettings, console: rich.console.Console | None = None
) -> SearchResult:
    """Searches and writes `pareto.json`, `pareto.png` and `report.html`.

    Every evaluation is stored at once in `evaluations.sqlite`: after a kill, the same call asks
    only for what is missing.

    Args:
      workdir: Of a trained supernet.
      settings: What to search for.
      console: For progress.

    Raises:
      RunError, ConstraintError, InfeasibleBudgetError: Something is missing or hopeless, or no
        evaluated subnet meets a constraint on the accuracy (the files are written all the same).
      StoreError, FileWriteError, StoreWriteError: A file is damaged or cannot be written.
    """
    console = console or rich.console.Console()
    config = workdir.config()
    space = build_space(config)
    cost = CostModel(space)
    bits = settings.bits(space)
    constraints = parse_constraints(settings.constraints)
    check_feasible(constraints, cost, space.restrict(bits))
    require_newest(workdir)
    budget = ", ".join(map(str, constraints)) or "no constraint"
    say(
        console,
        f"Searching {space.name}: accuracy against {settings.objective}, {budget}, "
        f"bits {', '.join(map(str, bits))}; {settings.generations} generations of "
        f"{settings.population} ...",
    )
    evaluator = workdir_evaluator(workdir, space)
    began = time.perf_counter()

    def report(progress) -> None:
        say(
            console,
            f"generation {progress.generation:>3}/{settings.generations}  evaluated "
            f"{progress.evaluated:>4}  front {progress.front_size:>3}  hypervolume "
            f"{progress.hypervolume:.4f}  {time.perf_counter() - began:.0f} s",
        )

    with EvaluationStore(workdir.evaluations, space) as store:
        stored = StoredEvaluator(evaluator, store)
        result = search(
            space,
            cost,
            stored,
            constraints=constraints,
            objective=settings.objective,
            population=settings.population,
            generations=settings.generations,
            seed=settings.seed,
            bits=bits,
            on_generation=report,
        )
        references = _uniform_references(space, cost, stored, settings.objective)
    result.write_pareto_json(workdir.pareto_json)
    result.plot_pareto(workdir.pareto_png, references)
    write_report(result, workdir.report, references)
    say(
        console,
        f"{stored.misses} subnets evaluated, {stored.hits} found in {workdir.evaluations.name}.",
    )
    _print_outcome(result, references, workdir, console)
    return result


def _uniform_references(space, cost, evaluator, objective) -> list[Reference]:
    """The largest subnet at each bit-width, for comparison."""
    costs = cost.evaluate(uniform_genomes(space))[objective]
    results = evaluate_uniform(space, evaluator)
    return [
        Reference(f"largest, {bits} bits", float(figure), result.accuracy)
        for figure, (bits, result) in zip(costs, results.items(), strict=True)
    ]


def _print_outcome(result, references, workdir, console) -> None:
    for reference in references:
        say(
            console,
            f"{reference.label}: accuracy {100 * reference.accuracy:.2f} %, "
            f"{result.objective} {reference.cost:.4g}",
        )
    if result.chosen is None:
        best = max(candidate.accuracy for candidate in result.candidates)
        raise RunError(
            f"No evaluated subnet meets {', '.join(map(str, result.constraints))}; the best "
            f"accuracy within the budget is {best:.4f}. Allow a larger budget or less accuracy, or "
            "search longer with more --generations."
        )
    chosen = result.chosen
    say(
        console,
        f"Chosen: accuracy {100 * chosen.accuracy:.2f} % on {result.split}, {result.objective} "
        f"{chosen.costs[result.objective]:.4g}, {chosen.costs['weight_bytes']:,.0f} weight bytes\n"
        f"{result.architecture(chosen).describe()}\n"
        f"Front of {len(result.front)} in {workdir.pareto_json}, page in {workdir.report}.\n"
        f"Next: python apps/export.py --workdir={workdir}",
    )
