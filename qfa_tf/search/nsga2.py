"""NSGA-II over genomes: pymoo's loop, ranking and survival with operators of our own.

Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002.
"""

from collections.abc import Callable, Sequence

import numpy as np

try:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.crossover import Crossover
    from pymoo.core.duplicate import DuplicateElimination
    from pymoo.core.mutation import Mutation
    from pymoo.core.problem import Problem
    from pymoo.core.repair import Repair
    from pymoo.core.sampling import Sampling
    from pymoo.core.selection import Selection
    from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
    from pymoo.termination.max_gen import MaximumGenerationTermination
except ModuleNotFoundError as error:
    raise ImportError(
        "The search needs pymoo. Install it with: pip install 'qfa_tf[search]'"
    ) from error

from qfa_tf.search.constraints import InfeasibleBudgetError
from qfa_tf.search.operators import GeneTable, sample_feasible, uniform_crossover
from qfa_tf.space import SearchSpace

Score = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def evolve(
    space: SearchSpace,
    choices: Sequence[Sequence[int]],
    score: Score,
    feasible: Callable[[np.ndarray], np.ndarray],
    *,
    population: int,
    generations: int,
    seed: int,
    mutation_rate: float | None = None,
    on_generation: Callable[[int], None] | None = None,
) -> None:
    """Runs NSGA-II; what it finds is what `score` was asked.

    Every genome passed to `score` is canonical and differs from its contemporaries. The run is
    determined by its arguments and the values of `score`.

    Args:
      space: Search space.
      choices: Allowed values per gene, from `SearchSpace.restrict`.
      score: From genomes int32[n, n_genes] to objectives to minimise, float64[n, 2], and total
        violations of the constraints, float64[n], 0 where there is none.
      feasible: From genomes to bool[n], for the first population; cheap.
      population: Size.
      generations: How many are scored, the first population included; fewer when the space has
        no genomes left.
      seed: Of all randomness.
      mutation_rate: Probability per gene; by default 0.02 or one gene per genome, if that is more.
      on_generation: Called with the number of each scored generation, from 1.

    Raises:
      InfeasibleBudgetError: No feasible genome was found for the first population.
    """
    table = GeneTable(choices)
    if mutation_rate is None:
        mutation_rate = max(0.02, 1 / max(1, space.n_genes))
    algorithm = NSGA2(
        pop_size=population,
        sampling=_FeasibleSampling(space, table, feasible),
        selection=_Tournament(),
        crossover=_UniformCrossover(),
        mutation=_ResetMutation(table, mutation_rate),
        survival=RankAndCrowding(),
        repair=_Canonicalize(space, table),
        eliminate_duplicates=_Distinct(),
        output=None,
    )
    algorithm.setup(
        _GenomeProblem(space.n_genes, score),
        termination=MaximumGenerationTermination(generations),
        seed=seed,
    )
    generation = 0
    while algorithm.has_next():
        algorithm.next()
        generation += 1
        if on_generation is not None:
            on_generation(generation)


class _GenomeProblem(Problem):
    def __init__(self, n_genes: int, score: Score):
        super().__init__(n_var=n_genes, n_obj=2, n_ieq_constr=1, vtype=int)
        self.score = score

    def _evaluate(self, X, out, *args, **kwargs):
        objectives, violation = self.score(X)
        out["F"], out["G"] = objectives, violation[:, None]


class _FeasibleSampling(Sampling):
    def __init__(self, space: SearchSpace, table: GeneTable, feasible):
        super().__init__()
        self.space, self.table, self.feasible = space, table, feasible

    def _do(self, problem, n_samples, *args, random_state=None, **kwargs):
        genomes = sample_feasible(
            random_state, self.table, self.space.canonicalize, self.feasible, n_samples
        )
        if not len(genomes):
            raise InfeasibleBudgetError(
                f"None of {10 * n_samples} random architectures of space {self.space.name!r} meets "
                "all constraints together, nor does the smallest or the largest one: loosen them."
            )
        return genomes


class _Tournament(Selection):
    """Binary tournament: less violation, then lower rank, then more room around it."""

    def _do(self, problem, pop, n_select, n_parents, *args, random_state=None, **kwargs):
        rank = np.array([np.inf if r is None else r for r in pop.get("rank")], np.float64)
        room = np.array([0.0 if c is None else c for c in pop.get("crowding")], np.float64)
        violation = pop.get("CV")[:, 0]
        infeasible = violation > 0
        rank[infeasible], room[infeasible] = np.inf, 0.0
        # A position in this order decides every duel; ties are broken at random once a generation.
        order = np.lexsort((random_state.random(len(pop)), -room, rank, violation))
        position = np.empty(len(pop), np.intp)
        position[order] = np.arange(len(pop))
        duels = random_state.integers(len(pop), size=(n_select, n_parents, 2))
        return order[position[duels].min(axis=-1)]


class _UniformCrossover(Crossover):
    def __init__(self):
        super().__init__(n_parents=2, n_offsprings=2, prob=0.9)

    def _do(self, problem, X, *args, random_state=None, **kwargs):
        return np.stack(uniform_crossover(random_state, X[0], X[1]))


class _ResetMutation(Mutation):
    def __init__(self, table: GeneTable, rate: float):
        super().__init__()
        self.table, self.rate = table, rate

    def _do(self, problem, X, *args, random_state=None, **kwargs):
        return self.table.mutate(random_state, X, self.rate)


class _Canonicalize(Repair):
    def __init__(self, space: SearchSpace, table: GeneTable):
        super().__init__()
        self.space, self.table = space, table

    def _do(self, problem, X, *args, random_state=None, **kwargs):
        return self.space.canonicalize(self.table.fill(random_state, X))


class _Distinct(DuplicateElimination):
    def _do(self, pop, other, is_duplicate):
        seen = set() if other is None else {genome.tobytes() for genome in other.get("X")}
        for i, genome in enumerate(pop.get("X")):
            key = genome.tobytes()
            is_duplicate[i] |= key in seen
            if other is None:
                seen.add(key)
        return is_duplicate
