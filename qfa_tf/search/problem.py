"""What is searched, what has been measured so far, and how much may still be measured."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.cost.errors import CostUnavailableError, LatencyTableError
from qfa_tf.search.constraints import Constraint, total_violation
from qfa_tf.search.evaluator import Evaluator
from qfa_tf.search.pareto import hypervolume, non_dominated
from qfa_tf.search.predictor_quality import PredictorQuality
from qfa_tf.search.predictors import Predictor
from qfa_tf.search.result import Candidate
from qfa_tf.search.subspace import Subspace

PIECE = 16
"""Subnets that are measured between two looks at the progress."""
WAVE = 8
"""Candidates of a verification that know the same rivals; fixed, so that the number of workers
does not change which ones are abandoned."""
_EPSILON = 1e-9


class BudgetSpent(Exception):
    """The budget of exact evaluations is used up; `search` catches it."""


class Progress(NamedTuple):
    """Where a search stands.

    Attributes:
      phase: What it is doing: "search", "sample", "fit", "predict" or "verify"; "generation" when
        one has ended.
      step: How far the phase is, from 1.
      steps: Its length, 0 when that is open.
      evaluated: Subnets with a known accuracy.
      spent: Of the budget; partly measured subnets count in part.
      budget: Exact evaluations in all.
      front_size: Size of the front of all measured subnets that meet the constraints.
      hypervolume: Share of accuracy 0..1 times cost 0..largest that this front dominates; it never
        falls.
    """

    phase: str
    step: int
    steps: int
    evaluated: int
    spent: float
    budget: int
    front_size: int
    hypervolume: float


class SearchProblem:
    """What a strategy works with.

    Args:
      subspace: Where to look.
      cost: Cost model of the space.
      evaluator: Measures accuracies.
      constraints: With full names of costs.
      objective: Full name of the cost to minimise beside the error.
      budget: Exact evaluations that may be asked for; those that come from a store count too, so
        that a resumed search takes the same steps.
      seed: Of all randomness.
      on_progress: Called often.

    Attributes:
      candidates: Every fully measured subnet by the bytes of its genome, in order.
      abandoned: Accuracy so far of those whose measurement was abandoned.
      predictor: The last one that a strategy fitted.
      quality: Its quality.
    """

    def __init__(
        self,
        subspace: Subspace,
        cost: CostModel,
        evaluator: Evaluator,
        constraints: Sequence[Constraint],
        objective: str,
        budget: int,
        seed: int,
        on_progress: Callable[[Progress], None] | None = None,
    ):
        self.subspace = subspace
        self.space = subspace.space
        self.evaluator = evaluator
        self.constraints = constraints
        self.objective = objective
        self.budget = budget
        self.seed = seed
        self.candidates: dict[bytes, Candidate] = {}
        self.abandoned: dict[bytes, float] = {}
        self.predictor: Predictor | None = None
        self.quality: PredictorQuality | None = None
        self.round = 1
        self.spent = 0.0
        self.reference_cost = subspace.bounds(cost, objective)[1]
        self._cost = cost
        self._on_progress = on_progress
        self._needed = sorted(
            {objective, *(c.metric for c in constraints)} - {*METRICS, "accuracy"}
        )
        self._recorded = recorded_costs(cost, subspace, self._needed)
        self._front = np.empty((2, 0))  # Accuracies and costs.

    # Randomness, costs and scores.

    def rng(self, purpose: str, number: int = 0) -> np.random.Generator:
        """A generator of its own for each purpose, keyed by the seed."""
        return np.random.default_rng([self.seed, number, *purpose.encode()])

    def costs(self, genomes: np.ndarray) -> dict[str, np.ndarray]:
        """Returns float64[n] for each cost that the search needs."""
        return self._cost.evaluate(genomes, self._needed)

    def affordable(self, genomes: np.ndarray) -> np.ndarray:
        """Returns bool[n]: which genomes meet the constraints on costs."""
        return total_violation(self.constraints, self.costs(genomes), len(genomes)) == 0

    def score(
        self, genomes: np.ndarray, accuracy_of: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (error, cost) float64[n, 2] and violations float64[n].

        A genome that breaks a budget gets no accuracy: it counts as all wrong, and its violation
        exceeds that of every genome that only misses a bound on the accuracy.

        Args:
          genomes: int32[n, n_genes].
          accuracy_of: From the affordable ones to their accuracies.
        """
        genomes = np.ascontiguousarray(genomes, np.int32)
        costs = self.costs(genomes)
        violation = total_violation(self.constraints, costs, len(genomes))
        affordable = violation == 0
        accuracy = np.zeros(len(genomes))
        accuracy[affordable] = accuracy_of(genomes[affordable])
        missed = total_violation(self.constraints, {"accuracy": accuracy}, len(genomes))
        worst = total_violation(self.constraints, {"accuracy": np.zeros(1)}, 1)[0]
        violation = np.where(affordable, missed, violation + worst)
        return np.stack([1 - accuracy, costs[self.objective]], axis=1), violation

    # Measuring.

    @property
    def remaining(self) -> int:
        """Full evaluations that the budget still holds."""
        return max(0, math.floor(self.budget - self.spent + _EPSILON))

    def is_known(self, genome: np.ndarray) -> bool:
        """Whether a genome was measured, if only until it was abandoned."""
        key = genome.tobytes()
        return key in self.candidates or key in self.abandoned

    def measure(self, genomes: np.ndarray, phase: str = "search") -> np.ndarray:
        """Returns float64[n], the accuracies of canonical genomes int32[n, n_genes].

        Raises:
          BudgetSpent: The budget does not hold all; those that it did hold were measured.
        """
        keys = [genome.tobytes() for genome in genomes]
        new = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self.candidates}
        wanted = sorted(new.values())
        held = wanted[: self.remaining]
        for start in range(0, len(held), PIECE):
            part = genomes[held[start : start + PIECE]]
            self._record(part, self.evaluator.evaluate(part))
            self.report(phase, min(start + PIECE, len(held)), len(held))
        if len(held) < len(wanted):
            raise BudgetSpent
        return np.array([self.candidates[key].accuracy for key in keys])

    def measure_partly(self, genomes: np.ndarray, images: int, phase: str) -> np.ndarray:
        """Returns float64[n], accuracies on the first `images` images; no candidates come of it.

        Raises:
          BudgetSpent: The budget does not hold them.
        """
        share = self._share(images)
        accuracy = []
        for start in range(0, len(genomes), PIECE):
            part = genomes[start : start + PIECE]
            if self.spent + share * len(part) > self.budget + _EPSILON:
                raise BudgetSpent
            results = self.evaluator.evaluate(part, images=images)
            accuracy += [result.accuracy for result in results]
            self.spent += share * len(part)
            self.report(phase, len(accuracy), len(genomes))
        return np.array(accuracy)

    def verify(self, genomes: np.ndarray) -> None:
        """Measures genomes, each only until it is nearly certain to be dominated.

        Raises:
          BudgetSpent: The budget does not hold all; those that it did hold were measured.
        """
        start = 0
        while start < len(genomes):
            size = min(WAVE, self.remaining)
            if not size:
                raise BudgetSpent
            part = genomes[start : start + size]
            costs = self.costs(part)[self.objective]
            results = self.evaluator.evaluate(part, to_beat=self._rivals(costs))
            self._record(part, results)
            start += len(part)
            self.report("verify", start, len(genomes))

    def _rivals(self, costs: np.ndarray) -> np.ndarray:
        """The best accuracy known at no more than each cost; -inf where there is none."""
        accuracy, known = self._front
        return np.array([accuracy[known <= cost].max(initial=-np.inf) for cost in costs])

    def _share(self, images: int) -> float:
        """What part of a full evaluation a measurement on so many images is."""
        calibration, full = self.evaluator.calibration_images, self.evaluator.images
        return (calibration + images) / (calibration + full)

    def _record(self, genomes: np.ndarray, results: Sequence) -> None:
        costs = self._cost.evaluate(genomes, self._recorded)
        fresh = []
        for i, (genome, result) in enumerate(zip(genomes, results, strict=True)):
            key = genome.tobytes()
            if result.images < self.evaluator.images:
                self.abandoned[key] = result.accuracy
                self.spent += self._share(result.images)
                continue
            self.spent += 1
            self.candidates[key] = Candidate(
                genome=tuple(genome.tolist()),
                accuracy=result.accuracy,
                loss=result.loss,
                images=result.images,
                costs={metric: float(values[i]) for metric, values in costs.items()},
                generation=self.round,
                answers=result.answers,
            )
            fresh.append((result.accuracy, costs[self.objective][i]))
        if fresh:
            self._extend_front(np.array(fresh).T)

    def _extend_front(self, points: np.ndarray) -> None:
        met = total_violation(self.constraints, {"accuracy": points[0]}, points.shape[1]) == 0
        points = np.concatenate([self._front, points[:, met]], axis=1)
        self._front = points[:, non_dominated(*points)]

    # Progress.

    @property
    def hypervolume(self) -> float:
        """Of the front of all measured subnets that meet the constraints."""
        accuracy, cost = self._front
        return hypervolume(accuracy, cost, self.reference_cost)

    def report(self, phase: str, step: int, steps: int = 0) -> None:
        """Tells the progress."""
        if self._on_progress is None:
            return
        self._on_progress(
            Progress(
                phase=phase,
                step=step,
                steps=steps,
                evaluated=len(self.candidates),
                spent=self.spent,
                budget=self.budget,
                front_size=self._front.shape[1],
                hypervolume=self.hypervolume,
            )
        )


def recorded_costs(cost: CostModel, subspace: Subspace, needed: Sequence[str]) -> tuple[str, ...]:
    """The deployment costs that candidates are recorded with: those needed, and what is known."""
    known = []
    for metric in cost.metrics[len(METRICS) :]:
        try:
            subspace.bounds(cost, metric)
        except (CostUnavailableError, LatencyTableError):
            if metric in needed:
                raise
            continue
        known.append(metric)
    return tuple(known)
