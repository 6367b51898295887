"""Searching on predictions: thousands of subnets a second."""

import contextlib
import dataclasses
from typing import ClassVar

import numpy as np

from qfa_tf.search.nsga2 import Population, evolve
from qfa_tf.search.outliers import inliers
from qfa_tf.search.pareto import non_dominated
from qfa_tf.search.predictor_quality import fit_and_judge
from qfa_tf.search.predictors import Predictor
from qfa_tf.search.problem import SearchProblem
from qfa_tf.search.strategies.exact import require_at_least
from quantize_configs.errors import StateError


def fit_to(problem: SearchProblem, kind: str, genomes: np.ndarray, accuracy: np.ndarray) -> None:
    """Fits `problem.predictor` to measurements, outliers apart, and judges it.

    Args:
      problem: Gets predictor and quality.
      kind: Of the predictor.
      genomes: int32[n, n_genes].
      accuracy: float64[n].
    """
    problem.report("fit", 1, 1)
    kept = inliers(problem.costs(genomes)[problem.objective], accuracy)
    evaluator = problem.evaluator
    problem.predictor, problem.quality = fit_and_judge(
        kind,
        problem.space,
        genomes[kept],
        accuracy[kept],
        seed=problem.seed,
        outliers=int((~kept).sum()),
        facts={
            "checkpoint_key": evaluator.checkpoint_key,
            "calibration_key": evaluator.calibration_key,
            "split": evaluator.split,
            "images": evaluator.images,
        },
    )


def predicted_front(
    problem: SearchProblem, population: int, generations: int, seeds: np.ndarray, number: int = 0
) -> Population:
    """Runs NSGA-II on predictions and returns its last population, best first.

    Args:
      problem: With a predictor.
      population: Size.
      generations: How many.
      seeds: Genomes that open the first population.
      number: Of the call, for its randomness.

    Raises:
      StateError: The problem has no predictor yet.
    """
    predictor = problem.predictor
    if predictor is None:
        raise StateError("Nothing predicts yet: fit a predictor to measurements first.")
    with _one_thread():
        return evolve(
            problem.subspace,
            lambda genomes: problem.score(genomes, predictor.predict),
            problem.affordable,
            population=population,
            generations=generations,
            rng=problem.rng("predict", number),
            seeds=seeds,
            on_generation=lambda generation: problem.report("predict", generation, generations),
        )


def _one_thread() -> contextlib.AbstractContextManager:
    """Linear algebra sums in another order, and to other last digits, with more threads."""
    try:
        import threadpoolctl
    except ModuleNotFoundError:  # comes with scikit-learn, which only fitting needs
        return contextlib.nullcontext()
    return threadpoolctl.threadpool_limits(1)


def measured_layers(problem: SearchProblem, n: int) -> np.ndarray:
    """Returns the genomes of up to n measured subnets, front by front."""
    candidates = list(problem.candidates.values())
    if not candidates:
        return np.empty((0, problem.space.n_genes), np.int32)
    genomes = np.array([candidate.genome for candidate in candidates], np.int32)
    accuracy = np.array([candidate.accuracy for candidate in candidates])
    cost = np.array([candidate.costs[problem.objective] for candidate in candidates])
    left = np.arange(len(candidates))
    layers: list[np.ndarray] = []
    while len(left) and sum(map(len, layers)) < n:
        front = non_dominated(accuracy[left], cost[left])
        layers.append(left[front])
        left = np.delete(left, front)
    return genomes[np.concatenate(layers)[:n]]


def unknown_picks(problem: SearchProblem, found: Population, n: int) -> np.ndarray:
    """Returns up to n genomes that were not measured: fronts in turn, each spread over its costs.

    Args:
      problem: Knows what was measured.
      found: Result of `predicted_front`; its candidates beyond the constraints are left out.
      n: How many.
    """
    if not n:
        return found.genomes[:0]
    unknown = np.array([not problem.is_known(genome) for genome in found.genomes], bool)
    usable = unknown & (found.violation <= 0)
    picks, missing = [], n
    for rank in np.unique(found.rank[usable]):
        front = np.flatnonzero(usable & (found.rank == rank))
        front = front[np.argsort(found.objectives[front, 1], kind="stable")]
        if len(front) > missing:
            front = front[np.linspace(0, len(front) - 1, missing).round().astype(int)]
        picks.append(front)
        missing -= len(front)
        if not missing:
            break
    index = np.concatenate(picks) if picks else np.empty(0, int)
    return found.genomes[index]


@dataclasses.dataclass(frozen=True)
class PredictedFront:
    """The front of a predictor that was fitted before; nothing is measured.

    The evaluator must be a `PredictingEvaluator`.

    Attributes:
      predictor: Of the space.
      population: Size.
      generations: How many.
    """

    predictor: Predictor
    population: int = 500
    generations: int = 200

    name: ClassVar[str] = "predicted"

    def __post_init__(self):
        require_at_least("population", self.population, 2)
        require_at_least("generations", self.generations, 1)

    @property
    def evaluations(self) -> int:
        """All of the last population."""
        return self.population

    def run(self, problem: SearchProblem) -> None:
        """See `Strategy`."""
        problem.predictor = self.predictor
        none = np.empty((0, problem.space.n_genes), np.int32)
        found = predicted_front(problem, self.population, self.generations, none)
        front = (found.rank == 0) & (found.violation <= 0)
        problem.measure(found.genomes[front if front.any() else slice(None)])
