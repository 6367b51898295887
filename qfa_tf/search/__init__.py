"""Looking for the best subnets under a budget; NumPy only, pymoo and matplotlib when needed."""

from qfa_tf.search.constraints import (
    Constraint,
    ConstraintError,
    InfeasibleBudgetError,
    check_feasible,
    parse_constraint,
    parse_constraints,
)
from qfa_tf.search.evaluator import Evaluation, Evaluator, StoredEvaluator
from qfa_tf.search.pareto import hypervolume, non_dominated
from qfa_tf.search.report import write_report
from qfa_tf.search.result import (
    Candidate,
    Reference,
    ResultError,
    SearchResult,
    load_pareto_json,
)
from qfa_tf.search.run import Generation, search
from qfa_tf.search.store import EvaluationStore, StoreError, StoreWriteError

__all__ = [
    "Candidate",
    "Constraint",
    "ConstraintError",
    "Evaluation",
    "EvaluationStore",
    "Evaluator",
    "Generation",
    "InfeasibleBudgetError",
    "Reference",
    "ResultError",
    "SearchResult",
    "StoreError",
    "StoreWriteError",
    "StoredEvaluator",
    "check_feasible",
    "hypervolume",
    "load_pareto_json",
    "non_dominated",
    "parse_constraint",
    "parse_constraints",
    "search",
    "write_report",
]
