"""NSGA-II over populations of genomes as arrays, with pymoo's sorting and crowding.

Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002. The loop is our
own because pymoo keeps an object per individual: at a population of 500 its bookkeeping alone
takes 45 ms a generation, where everything here takes a few.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from quantize_configs.errors import MissingExtraError

try:
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
except ModuleNotFoundError as error:
    raise MissingExtraError("The search", "pymoo", "search") from error

from qfa_tf.search.constraints import InfeasibleBudgetError
from qfa_tf.search.operators import uniform_crossover
from qfa_tf.search.sampling import sample_feasible
from qfa_tf.search.subspace import Subspace

Score = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
CROSSOVER_RATE = 0.9
MUTATION_RATE = 0.02
_MATING_ROUNDS = 20
"""How often parents mate again when too many children are known already."""


class Population(NamedTuple):
    """Genomes with their scores, best first.

    Attributes:
      genomes: int32[n, n_genes], canonical and distinct.
      objectives: float64[n, 2], to minimise.
      violation: float64[n], 0 where all constraints are met.
      rank: int[n], number of the front, from 0; those that break a constraint come last.
      crowding: float64[n], room around it on its front.
    """

    genomes: np.ndarray
    objectives: np.ndarray
    violation: np.ndarray
    rank: np.ndarray
    crowding: np.ndarray


def evolve(
    subspace: Subspace,
    score: Score,
    feasible: Callable[[np.ndarray], np.ndarray],
    *,
    population: int,
    generations: int,
    rng: np.random.Generator,
    seeds: np.ndarray | None = None,
    mutation_rate: float | None = None,
    on_generation: Callable[[int], None] | None = None,
) -> Population:
    """Runs NSGA-II and returns the last population.

    Every genome passed to `score` is canonical and differs from its contemporaries. The run is
    determined by its arguments and the values of `score`.

    Args:
      subspace: Where to look.
      score: From genomes int32[n, n_genes] to objectives to minimise, float64[n, 2], and total
        violations of the constraints, float64[n], 0 where there is none.
      feasible: From genomes to bool[n], for the first population; cheap.
      population: Size.
      generations: How many are scored, the first population included; fewer when no new genome
        can be bred.
      rng: Source of all randomness.
      seeds: Genomes int32[m, n_genes] that open the first population.
      mutation_rate: Probability per gene; by default 0.02 or one gene per genome, if that is more.
      on_generation: Called with the number of each scored generation, from 1.

    Raises:
      InfeasibleBudgetError: No feasible genome was found for the first population.
    """
    if mutation_rate is None:
        mutation_rate = max(MUTATION_RATE, 1 / max(1, subspace.space.n_genes))
    genomes = _first(subspace, feasible, population, rng, seeds)
    current = survivors(genomes, *score(genomes), population)
    for generation in range(1, generations + 1):
        if on_generation is not None:
            on_generation(generation)
        if generation == generations:
            break
        children = _breed(subspace, current, population, mutation_rate, rng)
        if not len(children):
            break
        objectives, violation = score(children)
        current = survivors(
            np.concatenate([current.genomes, children]),
            np.concatenate([current.objectives, objectives]),
            np.concatenate([current.violation, violation]),
            population,
        )
    return current


def survivors(
    genomes: np.ndarray, objectives: np.ndarray, violation: np.ndarray, n: int
) -> Population:
    """Returns the best n: front by front, the last one thinned where it is crowded.

    Those that break a constraint come after all others, by violation.
    """
    met = np.flatnonzero(violation <= 0)
    broken = np.flatnonzero(violation > 0)
    chosen, ranks, rooms = [], [], []
    rank = taken = 0
    fronts = NonDominatedSorting().do(objectives[met], n_stop_if_ranked=n) if len(met) else []
    for rank, front in enumerate(fronts):
        room = calc_crowding_distance(objectives[met][front])
        order = np.argsort(-room, kind="stable")[: n - taken]
        chosen.append(met[front][order])
        ranks.append(np.full(len(order), rank))
        rooms.append(room[order])
        taken += len(order)
        if taken == n:
            break
    if taken < n and len(broken):
        order = broken[np.argsort(violation[broken], kind="stable")][: n - taken]
        chosen.append(order)
        ranks.append(np.full(len(order), rank + 1))
        rooms.append(np.zeros(len(order)))
    index = np.concatenate(chosen)
    return Population(
        genomes[index],
        objectives[index],
        violation[index],
        np.concatenate(ranks),
        np.concatenate(rooms),
    )


def select_parents(current: Population, n: int, rng: np.random.Generator) -> np.ndarray:
    """Returns intp[n, 2] by binary tournaments: less violation, then lower rank, then more room."""
    size = len(current.genomes)
    # A position in this order decides every duel; ties are broken at random once a generation.
    keys = (rng.random(size), -current.crowding, current.rank, current.violation)
    order = np.lexsort(keys)
    duels = rng.integers(size, size=(n, 2, 2))  # positions
    return order[duels.min(axis=-1)]


def _first(subspace, feasible, population, rng, seeds) -> np.ndarray:
    found = np.empty((0, subspace.space.n_genes), np.int32)
    if seeds is not None and len(seeds):
        seeds = subspace.project(seeds)
        found = seeds[feasible(seeds)][:population]
    fresh = sample_feasible(rng, subspace, feasible, population)
    genomes = np.concatenate([found, fresh])
    if not len(genomes):
        raise InfeasibleBudgetError(
            f"None of {10 * population} random architectures of space {subspace.space.name!r} "
            "meets all constraints together, nor does the smallest or the largest one: loosen them."
        )
    return genomes[_distinct(genomes, set())][:population]


def _breed(subspace, current, population, mutation_rate, rng) -> np.ndarray:
    known = {genome.tobytes() for genome in current.genomes}
    broods: list[np.ndarray] = []
    missing = population
    for _ in range(_MATING_ROUNDS):
        pairs = select_parents(current, -(-missing // 2), rng)
        first, second = current.genomes[pairs[:, 0]], current.genomes[pairs[:, 1]]
        crossed_over = uniform_crossover(rng, first, second)
        crossed = rng.random((len(pairs), 1)) < CROSSOVER_RATE
        children = np.concatenate(
            [
                np.where(crossed, child, parent)
                for child, parent in zip(crossed_over, (first, second), strict=True)
            ]
        )
        children = subspace.table.mutate(rng, children, mutation_rate)
        children = subspace.project(subspace.table.fill(rng, children))
        children = children[_distinct(children, known)][:missing]
        broods.append(children)
        missing -= len(children)
        if not missing:
            break
    return np.concatenate(broods)


def _distinct(genomes: np.ndarray, known: set[bytes]) -> list[int]:
    """Indices of genomes that are not `known`, each once; they are known from then on."""
    kept = []
    for i, genome in enumerate(np.ascontiguousarray(genomes)):
        key = genome.tobytes()
        if key not in known:
            known.add(key)
            kept.append(i)
    return kept
