"""Search on predictions, verify, fit again, until the front stops moving (as LINAS in DyNAS-T)."""

import dataclasses
from typing import ClassVar

import numpy as np

from qfa_tf.search.problem import SearchProblem
from qfa_tf.search.strategies.predicted import (
    fit_to,
    measured_layers,
    predicted_front,
    unknown_picks,
)
from qfa_tf.search.strategies.predictor_guided import check_predicted, sample
from quantize_configs.errors import InvalidInputError


@dataclasses.dataclass(frozen=True)
class IterativeRefinement:
    """Alternates small fits of a predictor and measurements of its front.

    Attributes:
      evaluations: Budget when none is given.
      sample_share: Part of the budget that is spent on the first samples.
      sample_images: Images that samples are measured on first; 0 for all.
      round_share: Part of the budget that is measured between two fits.
      patience: Rounds in which the hypervolume stands still before the search ends.
      predictor: "mlp" or "gp".
      population: Of NSGA-II on predictions.
      generations: Of NSGA-II on predictions, in each round.
    """

    evaluations: int = 2000
    sample_share: float = 0.3
    sample_images: int = 0
    round_share: float = 0.1
    patience: int = 3
    predictor: str = "mlp"
    population: int = 200
    generations: int = 100

    name: ClassVar[str] = "refine"

    def __post_init__(self):
        check_predicted(self)
        if not 0 < self.round_share <= 1 or self.patience < 1:
            raise InvalidInputError(
                "round_share must be in (0, 1] and patience at least 1. Received: "
                f"{self.round_share!r} and {self.patience!r}"
            )

    def run(self, problem: SearchProblem) -> None:
        """See `Strategy`."""
        genomes, accuracy = sample(problem, self.sample_share, self.sample_images)
        still, best = 0, problem.hypervolume
        size = max(1, round(self.round_share * problem.budget))
        while still < self.patience and problem.remaining:
            fit_to(problem, self.predictor, genomes, accuracy)
            seeds = measured_layers(problem, self.population // 2)
            problem.round += 1
            found = predicted_front(
                problem, self.population, self.generations, seeds, problem.round
            )
            picks = unknown_picks(problem, found, min(size, problem.remaining))
            if not len(picks):
                return
            # In full, since the next predictor learns from them.
            genomes = np.concatenate([genomes, picks])
            accuracy = np.concatenate([accuracy, problem.measure(picks, "verify")])
            still = still + 1 if problem.hypervolume <= best else 0
            best = problem.hypervolume
