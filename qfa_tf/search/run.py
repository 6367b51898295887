"""The search: a strategy, a budget of exact evaluations, an evaluator and a cost model."""

import contextlib
import dataclasses
import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from qfa_tf.cost import CostModel
from qfa_tf.search.constraints import (
    Constraint,
    check_feasible,
    parse_constraints,
    resolve_constraints,
)
from qfa_tf.search.evaluator import Evaluator, StoredEvaluator
from qfa_tf.search.pareto import non_dominated
from qfa_tf.search.predictors import Predictor
from qfa_tf.search.problem import BudgetSpent, Progress, SearchProblem
from qfa_tf.search.result import Candidate, SearchResult
from qfa_tf.search.store import EvaluationStore
from qfa_tf.search.strategies.base import Strategy
from qfa_tf.search.strategies.exact import ExactNSGA2
from qfa_tf.search.subspace import Subspace
from qfa_tf.space import SearchSpace
from qfa_tf.version import __version__
from quantize_configs.errors import InvalidInputError


def search(
    space: SearchSpace,
    cost: CostModel,
    evaluator: Evaluator,
    *,
    strategy: Strategy | None = None,
    constraints: str | Iterable[str | Constraint] = (),
    objective: str = "mflops_8bit",
    minimize: bool = False,
    evaluations: int | None = None,
    seed: int = 0,
    bits: Sequence[int] | None = None,
    uniform_bits: bool = False,
    store: EvaluationStore | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_predictor: Callable[[Predictor], None] | None = None,
) -> SearchResult:
    """Looks for the front of accuracy against one cost, under constraints.

    Subnets that break a constraint on a cost are never evaluated. No subnet is evaluated twice;
    with a `store` that holds across programs: after a kill the same call goes through the same
    steps with the store answering, and ends with the same result as an uninterrupted one.

    Args:
      space: Search space.
      cost: Cost model of `space`.
      evaluator: Measures accuracies on images that are not test images.
      strategy: How to look; NSGA-II on measurements by default.
      constraints: Such as "mflops_8bit<=1.5", one or several.
      objective: Cost to minimise.
      minimize: Choose the cheapest candidate that meets the constraints instead of the most
        accurate one.
      evaluations: Budget of exact evaluations; that of the strategy by default.
      seed: Of all randomness.
      bits: Bit-widths to search; all of the space by default.
      uniform_bits: Give all weights and activations that are not fixed one bit-width.
      store: Open store of `space`, for results of this and earlier runs.
      on_progress: Called often.
      on_predictor: Called with the last predictor of a strategy that fitted one.

    Returns:
      All evaluated candidates with their front and the chosen one (None when no candidate meets
      a constraint on the accuracy).

    Raises:
      ConstraintError: A constraint cannot be read.
      InfeasibleBudgetError: No architecture meets the constraints on costs.
      CostUnavailableError, LatencyTableError: A cost cannot be computed.
      GenomeError: `bits` are not offered.
      StoreError: The store is damaged or of another space.
      StoreWriteError: The store cannot be written.
      InvalidInputError: Another argument is not allowed.
      ImportError: pymoo or scikit-learn is not installed.
    """
    strategy = strategy or ExactNSGA2()
    budget = strategy.evaluations if evaluations is None else evaluations
    _check_arguments(space, cost, budget, store)
    subspace = Subspace(space, bits, uniform_bits)
    objective = cost.resolve(objective)
    constraints = resolve_constraints(parse_constraints(constraints), cost)
    check_feasible(constraints, cost, subspace)
    if store is not None:
        evaluator = StoredEvaluator(evaluator, store)
    problem = SearchProblem(
        subspace, cost, evaluator, constraints, objective, budget, seed, on_progress
    )
    with contextlib.suppress(BudgetSpent):
        strategy.run(problem)
    if problem.predictor is not None and on_predictor is not None:
        on_predictor(problem.predictor)
    return SearchResult(
        space=space,
        accounting=cost.accounting,
        objective=objective,
        minimize=minimize,
        constraints=constraints,
        bits=subspace.bits,
        uniform_bits=uniform_bits,
        strategy=strategy.name,
        settings=_settings(strategy),
        seed=seed,
        budget=budget,
        spent=round(problem.spent, 6),
        abandoned=len(problem.abandoned),
        checkpoint_key=evaluator.checkpoint_key,
        calibration_key=evaluator.calibration_key,
        split=evaluator.split,
        candidates=_with_answers_of_front(problem),
        quality=problem.quality,
        versions=_versions(problem.predictor),
    )


def _with_answers_of_front(problem: SearchProblem) -> tuple[Candidate, ...]:
    """All candidates; only those of the front, which are compared, keep their answers."""
    candidates = list(problem.candidates.values())
    front = non_dominated(
        np.array([candidate.accuracy for candidate in candidates]),
        np.array([candidate.costs[problem.objective] for candidate in candidates]),
    )
    kept = set(front.tolist())
    return tuple(
        candidate if i in kept else dataclasses.replace(candidate, answers=None)
        for i, candidate in enumerate(candidates)
    )


def _check_arguments(space, cost, budget, store) -> None:
    if cost.space != space:
        raise InvalidInputError(
            f"cost must be the CostModel of space {space.name!r}. "
            f"Received: that of {cost.space.name!r} ({cost.space.fingerprint})"
        )
    if store is not None and store.space != space:
        raise InvalidInputError(
            f"store must be the EvaluationStore of space {space.name!r}. "
            f"Received: that of {store.space.name!r} ({store.space.fingerprint})"
        )
    if budget < 1:
        raise InvalidInputError(f"evaluations must be at least 1. Received: {budget!r}")


def _settings(strategy: Strategy) -> dict[str, int | float | str | None]:
    """The settings that fit into a file; a budget of its own is in the result already."""
    values = {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}
    return {
        name: value
        for name, value in values.items()
        if name != "evaluations" and isinstance(value, int | float | str | None)
    }


def _versions(predictor: Predictor | None) -> dict[str, str]:
    import pymoo

    versions = {
        "qfa_tf": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pymoo": pymoo.__version__,
    }
    if predictor is not None:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions["scikit-learn"] = importlib.metadata.version("scikit-learn")
    return versions
