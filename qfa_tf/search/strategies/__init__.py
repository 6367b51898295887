"""Ways to spend a budget of exact evaluations; each is a small frozen dataclass with `run`."""

from qfa_tf.search.strategies.base import Strategy
from qfa_tf.search.strategies.exact import ExactNSGA2, RandomSearch
from qfa_tf.search.strategies.predicted import PredictedFront
from qfa_tf.search.strategies.predictor_guided import PredictorGuided
from qfa_tf.search.strategies.refinement import IterativeRefinement

STRATEGIES = {
    strategy.name: strategy
    for strategy in (ExactNSGA2, PredictorGuided, IterativeRefinement, RandomSearch)
}
"""By the name that `--strategy` knows."""

__all__ = [
    "STRATEGIES",
    "ExactNSGA2",
    "IterativeRefinement",
    "PredictedFront",
    "PredictorGuided",
    "RandomSearch",
    "Strategy",
]
