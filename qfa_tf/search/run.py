"""The search: NSGA-II over genomes, scored by an evaluator and a cost model."""

import platform
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.search.constraints import (
    Constraint,
    check_feasible,
    extreme_genomes,
    parse_constraints,
    total_violation,
)
from qfa_tf.search.evaluator import Evaluator, StoredEvaluator
from qfa_tf.search.pareto import hypervolume, non_dominated
from qfa_tf.search.result import Candidate, SearchResult
from qfa_tf.search.store import EvaluationStore
from qfa_tf.space import SearchSpace
from qfa_tf.version import __version__


class Generation(NamedTuple):
    """Progress of a search.

    Attributes:
      generation: Number of the generation that was just scored, from 1.
      evaluated: Different subnets with a known accuracy so far.
      front_size: Size of the front of all of them that meet the constraints.
      hypervolume: Share of accuracy 0..1 times cost 0..largest that this front dominates; it never
        falls.
    """

    generation: int
    evaluated: int
    front_size: int
    hypervolume: float


def search(
    space: SearchSpace,
    cost: CostModel,
    evaluator: Evaluator,
    *,
    constraints: str | Iterable[str | Constraint] = (),
    objective: str = "mflops_8bit",
    population: int = 100,
    generations: int = 50,
    seed: int = 0,
    bits: Sequence[int] | None = None,
    store: EvaluationStore | None = None,
    on_generation: Callable[[Generation], None] | None = None,
) -> SearchResult:
    """Looks for the front of accuracy against one cost, under constraints.

    Subnets that break a constraint on a cost are never evaluated. No subnet is evaluated twice;
    with a `store` that holds across programs: after a kill the same call goes through the same
    steps with the store answering, and ends with the same result as an uninterrupted one.

    Args:
      space: Search space.
      cost: Cost model of `space`.
      evaluator: Measures accuracies on images that are not test images.
      constraints: Such as "mflops_8bit<=1.5", one or several.
      objective: Cost metric to minimise.
      population: Size, at least 2.
      generations: How many, the first population included.
      seed: Of all randomness.
      bits: Bit-widths to search; all of the space by default.
      store: Open store of `space`, for results of this and earlier runs.
      on_generation: Called after each generation.

    Returns:
      All evaluated candidates with their front and the chosen one (None when no candidate meets
      a constraint on the accuracy).

    Raises:
      ConstraintError: A constraint cannot be read.
      InfeasibleBudgetError: No architecture meets the constraints on costs.
      GenomeError: `bits` are not offered.
      StoreError: The store is damaged or of another space.
      StoreWriteError: The store cannot be written.
      ValueError: Another argument is not allowed.
      ImportError: pymoo is not installed.
    """
    from qfa_tf.search.nsga2 import evolve

    constraints = parse_constraints(constraints)
    _check_arguments(space, cost, objective, population, generations, store)
    choices = space.restrict(bits)
    check_feasible(constraints, cost, choices)
    if store is not None:
        evaluator = StoredEvaluator(evaluator, store)
    scorer = _Scorer(space, cost, evaluator, constraints, objective, choices)

    def end_generation(generation: int) -> None:
        progress = scorer.end_generation(generation)
        if on_generation is not None:
            on_generation(progress)

    evolve(
        space,
        choices,
        scorer.score,
        scorer.affordable,
        population=population,
        generations=generations,
        seed=seed,
        on_generation=end_generation,
    )
    return SearchResult(
        space=space,
        accounting=cost.accounting,
        objective=objective,
        constraints=constraints,
        bits=None if bits is None else tuple(bits),
        seed=seed,
        population=population,
        generations=generations,
        checkpoint_key=evaluator.checkpoint_key,
        calibration_key=evaluator.calibration_key,
        split=evaluator.split,
        candidates=tuple(scorer.candidates.values()),
        versions=_versions(),
    )


class _Scorer:
    """Turns genomes into objectives and violations and remembers every candidate."""

    def __init__(self, space, cost, evaluator, constraints, objective, choices):
        self.space = space
        self.cost = cost
        self.evaluator = evaluator
        self.constraints = constraints
        self.objective = objective
        self.candidates: dict[bytes, Candidate] = {}
        self.generation = 1
        largest = space.canonicalize(extreme_genomes(choices)[1:])
        self.reference_cost = float(cost.evaluate(largest)[objective][0])
        self.front = np.empty((2, 0))  # Accuracies and costs of the front so far.
        self.fresh: list[Candidate] = []

    def affordable(self, genomes: np.ndarray) -> np.ndarray:
        """Returns bool[n]: which genomes meet the constraints on costs."""
        costs = self.cost.evaluate(genomes)
        return total_violation(self.constraints, costs, len(genomes)) == 0

    def score(self, genomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (error, cost) float64[n, 2] and violations float64[n].

        A genome that breaks a budget is not evaluated: it counts as all wrong, and its violation
        exceeds that of every genome that only misses a bound on the accuracy.
        """
        genomes = np.ascontiguousarray(genomes, np.int32)
        costs = self.cost.evaluate(genomes)
        violation = total_violation(self.constraints, costs, len(genomes))
        affordable = violation == 0
        self._evaluate(genomes[affordable], {k: v[affordable] for k, v in costs.items()})
        accuracy = np.zeros(len(genomes))
        for i in np.flatnonzero(affordable):
            accuracy[i] = self.candidates[genomes[i].tobytes()].accuracy
        missed = total_violation(self.constraints, {"accuracy": accuracy}, len(genomes))
        worst = total_violation(self.constraints, {"accuracy": np.zeros(1)}, 1)[0]
        violation = np.where(affordable, missed, violation + worst)
        return np.stack([1 - accuracy, costs[self.objective]], axis=1), violation

    def _evaluate(self, genomes: np.ndarray, costs: dict[str, np.ndarray]) -> None:
        keys = [genome.tobytes() for genome in genomes]
        new = [i for i, key in enumerate(keys) if key not in self.candidates]
        if not new:
            return
        results = self.evaluator.evaluate(genomes[new])
        for i, result in zip(new, results, strict=True):
            candidate = Candidate(
                genome=tuple(genomes[i].tolist()),
                accuracy=result.accuracy,
                loss=result.loss,
                images=result.images,
                costs={metric: float(costs[metric][i]) for metric in METRICS},
                generation=self.generation,
            )
            self.candidates[keys[i]] = candidate
            self.fresh.append(candidate)

    def end_generation(self, generation: int) -> Generation:
        """Brings the front up to date and returns the progress."""
        accuracy = np.array([candidate.accuracy for candidate in self.fresh])
        cost = np.array([candidate.costs[self.objective] for candidate in self.fresh])
        met = total_violation(self.constraints, {"accuracy": accuracy}, len(accuracy)) == 0
        points = np.concatenate([self.front, np.stack([accuracy[met], cost[met]])], axis=1)
        self.front = points[:, non_dominated(*points)]
        self.fresh.clear()
        self.generation = generation + 1
        volume = hypervolume(*self.front, self.reference_cost)
        return Generation(generation, len(self.candidates), self.front.shape[1], volume)


def _check_arguments(space, cost, objective, population, generations, store) -> None:
    if cost.space != space:
        raise ValueError(
            f"cost must be the CostModel of space {space.name!r}. "
            f"Received: that of {cost.space.name!r} ({cost.space.fingerprint})"
        )
    if store is not None and store.space != space:
        raise ValueError(
            f"store must be the EvaluationStore of space {space.name!r}. "
            f"Received: that of {store.space.name!r} ({store.space.fingerprint})"
        )
    if objective not in METRICS:
        raise ValueError(f"objective must be one of {list(METRICS)}. Received: {objective!r}")
    for name, value, minimum in (("population", population, 2), ("generations", generations, 1)):
        if value < minimum:
            raise ValueError(f"{name} must be at least {minimum}. Received: {value!r}")


def _versions() -> dict[str, str]:
    import pymoo

    return {
        "qfa_tf": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pymoo": pymoo.__version__,
    }
