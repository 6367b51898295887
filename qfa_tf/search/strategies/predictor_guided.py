"""The search of the QFA paper: sample, fit a predictor, search on predictions, verify the front."""

import dataclasses
from typing import ClassVar

import numpy as np

from qfa_tf.search.pareto import non_dominated
from qfa_tf.search.predictors import KINDS
from qfa_tf.search.problem import SearchProblem
from qfa_tf.search.sampling import RecipeDraw, sample_feasible
from qfa_tf.search.strategies.exact import require_at_least
from qfa_tf.search.strategies.predicted import (
    fit_to,
    measured_layers,
    predicted_front,
    unknown_picks,
)
from quantize_configs.errors import InvalidInputError


@dataclasses.dataclass(frozen=True)
class PredictorGuided:
    """Predictor-guided NSGA-II.

    Samples are drawn as in the paper (see `RecipeDraw`), within the budget on costs. The front of
    the last population is verified, then its next fronts, as far as the budget of evaluations goes;
    a candidate that is nearly certain to be dominated is abandoned. What is left of the budget
    when all of the population is known goes into another round, which learns from it.

    Attributes:
      evaluations: Budget when none is given.
      sample_share: Part of the budget that is spent on samples.
      sample_images: Images that samples are measured on first; 0 for all. Those on their front are
        then measured in full.
      predictor: "mlp" or "gp".
      population: Of NSGA-II on predictions.
      generations: Of NSGA-II on predictions.
    """

    evaluations: int = 10_000
    sample_share: float = 0.6
    sample_images: int = 0
    predictor: str = "mlp"
    population: int = 500
    generations: int = 1000

    name: ClassVar[str] = "predictor"

    def __post_init__(self):
        check_predicted(self)

    def run(self, problem: SearchProblem) -> None:
        """See `Strategy`."""
        genomes, accuracy = sample(problem, self.sample_share, self.sample_images)
        while True:
            fit_to(problem, self.predictor, genomes, accuracy)
            seeds = measured_layers(problem, self.population // 2)
            problem.round += 1
            found = predicted_front(
                problem, self.population, self.generations, seeds, problem.round
            )
            before = len(problem.candidates)
            # Abandoned measurements leave a rest of the budget, for the next fronts.
            while len(picks := unknown_picks(problem, found, problem.remaining)):
                problem.verify(picks)
            # All of the last population is known, and the budget not spent: learn from it.
            verified = list(problem.candidates.values())[before:]
            if not verified or not problem.remaining:
                return
            fresh = np.array([candidate.genome for candidate in verified], np.int32)
            genomes = np.concatenate([genomes, fresh])
            accuracy = np.concatenate([accuracy, [c.accuracy for c in verified]])


def sample(problem: SearchProblem, share: float, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Measures random subnets for a predictor.

    Args:
      problem: Has the budget.
      share: Part of the budget to spend.
      images: Measure on so many first, and the front of that in full; 0 for all at once.

    Returns:
      Genomes int32[n, n_genes] and accuracies float64[n].
    """
    whole = problem.evaluator.images
    partly = 0 < images < whole
    calibration = problem.evaluator.calibration_images
    each = (calibration + images) / (calibration + whole) if partly else 1.0
    count = max(2, int(share * problem.budget / each))
    genomes = sample_feasible(
        problem.rng("sample"),
        problem.subspace,
        problem.affordable,
        count,
        draw=RecipeDraw(problem.subspace),
    )
    if not partly:
        return genomes, problem.measure(genomes, "sample")
    accuracy = problem.measure_partly(genomes, images, "sample")
    front = non_dominated(accuracy, problem.costs(genomes)[problem.objective])
    accuracy[front] = problem.measure(genomes[front], "sample")
    return genomes, accuracy


def check_predicted(strategy) -> None:
    """Checks the settings that strategies with a predictor share; raises ValueError."""
    require_at_least("evaluations", strategy.evaluations, 2)
    require_at_least("population", strategy.population, 2)
    require_at_least("generations", strategy.generations, 1)
    require_at_least("sample_images", strategy.sample_images, 0)
    if not 0 < strategy.sample_share < 1:
        raise InvalidInputError(
            f"sample_share must be between 0 and 1. Received: {strategy.sample_share!r}"
        )
    if strategy.predictor not in KINDS:
        raise InvalidInputError(
            f"predictor must be one of {KINDS}. Received: {strategy.predictor!r}"
        )
