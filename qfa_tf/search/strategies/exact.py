"""Strategies that measure everything they look at."""

import dataclasses
import sys
from typing import ClassVar

import numpy as np

from qfa_tf.search.problem import SearchProblem
from qfa_tf.search.sampling import sample_feasible
from quantize_configs.errors import InvalidInputError

_MOST_STALE = 25
"""Generations without a new subnet after which nothing more is to be expected."""


@dataclasses.dataclass(frozen=True)
class ExactNSGA2:
    """NSGA-II on measured accuracies.

    Attributes:
      population: Size, at least 2.
      generations: Most of them, the first population included; None ends with the budget.
    """

    population: int = 100
    generations: int | None = 50

    name: ClassVar[str] = "nsga2"

    def __post_init__(self):
        require_at_least("population", self.population, 2)
        if self.generations is not None:
            require_at_least("generations", self.generations, 1)

    @property
    def evaluations(self) -> int:
        """Population times generations."""
        return self.population * (self.generations or 50)

    def run(self, problem: SearchProblem) -> None:
        """See `Strategy`."""
        from qfa_tf.search.nsga2 import evolve

        stale, before = 0, 0

        def end_generation(generation: int) -> None:
            nonlocal stale, before
            problem.report("generation", generation, self.generations or 0)
            problem.round = generation + 1
            stale = stale + 1 if len(problem.candidates) == before else 0
            before = len(problem.candidates)
            if stale == _MOST_STALE and self.generations is None:
                raise _Exhausted

        try:
            evolve(
                problem.subspace,
                lambda genomes: problem.score(genomes, problem.measure),
                problem.affordable,
                population=self.population,
                generations=self.generations or sys.maxsize,
                rng=problem.rng(self.name),
                on_generation=end_generation,
            )
        except _Exhausted:
            return


class _Exhausted(Exception):
    """Nothing new comes up any more."""


@dataclasses.dataclass(frozen=True)
class RandomSearch:
    """Random subnets within the budget on costs, after those that have a name: the control.

    Attributes:
      evaluations: Budget when none is given.
    """

    evaluations: int = 1000

    name: ClassVar[str] = "random"

    def run(self, problem: SearchProblem) -> None:
        """See `Strategy`."""
        stale = 0
        while stale < _MOST_STALE:
            genomes = sample_feasible(
                problem.rng(self.name, problem.round),
                problem.subspace,
                problem.affordable,
                min(64, problem.remaining + 1),
                anchors=problem.round == 1,  # as in the first population of NSGA-II
            )
            new = np.array([not problem.is_known(genome) for genome in genomes], bool)
            stale = 0 if new.any() else stale + 1
            problem.measure(genomes[new])
            problem.round += 1


def require_at_least(name: str, value: float, minimum: float) -> None:
    """Raises ValueError unless `value` is at least `minimum`."""
    if value < minimum:
        raise InvalidInputError(f"{name} must be at least {minimum}. Received: {value!r}")
