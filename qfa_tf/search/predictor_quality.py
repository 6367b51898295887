"""How good a predictor is on architectures it has not seen."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from qfa_tf.search.predictors import Predictor, fit_predictor
from qfa_tf.space import SearchSpace

HELD_OUT = 0.2
_FEWEST = 10
"""Measurements; with fewer nothing is held out."""


@dataclasses.dataclass(frozen=True)
class PredictorQuality:
    """Predictions against measurements on held-out architectures.

    Attributes:
      kind: Of the predictor.
      fitted_on: Measurements it was fitted on.
      outliers: Measurements left out as outliers.
      kendall_tau: Rank correlation from -1 to 1; NaN when all are equal.
      rmse: Root of the mean squared error, in accuracy.
      measured: Accuracies of the held-out architectures.
      predicted: The predictions of them.
    """

    kind: str
    fitted_on: int
    outliers: int
    kendall_tau: float
    rmse: float
    measured: tuple[float, ...]
    predicted: tuple[float, ...]

    def __str__(self) -> str:
        return (
            f"Kendall tau {self.kendall_tau:.3f}, RMSE {100 * self.rmse:.2f} points on "
            f"{len(self.measured)} held-out architectures ({self.kind}, fitted on "
            f"{self.fitted_on})"
        )


def fit_and_judge(
    kind: str,
    space: SearchSpace,
    genomes: np.ndarray,
    accuracy: np.ndarray,
    *,
    seed: int,
    facts: Mapping[str, str | int],
    outliers: int = 0,
    hidden: Sequence[int] | None = None,
) -> tuple[Predictor, PredictorQuality | None]:
    """Judges a predictor on a fifth of the measurements, then fits it on all of them.

    Args:
      kind: See `fit_predictor`.
      space: See `fit_predictor`.
      genomes: See `fit_predictor`.
      accuracy: See `fit_predictor`.
      seed: See `fit_predictor`; it also draws the fifth.
      facts: See `fit_predictor`.
      outliers: How many measurements were left out before, for the record.
      hidden: See `fit_predictor`.

    Returns:
      The predictor, and its quality; None when there are too few measurements to hold some out.
    """

    def fit(index) -> Predictor:
        return fit_predictor(
            kind, space, genomes[index], accuracy[index], seed=seed, facts=facts, hidden=hidden
        )

    accuracy = np.asarray(accuracy, np.float64)
    quality = None
    if len(genomes) >= _FEWEST:
        order = np.random.default_rng(seed).permutation(len(genomes))
        held_out, rest = np.split(order, [max(2, round(HELD_OUT * len(genomes)))])
        predicted = fit(rest).predict(genomes[held_out])
        quality = judge(kind, accuracy[held_out], predicted, len(rest), outliers)
    return fit(np.arange(len(genomes))), quality


def judge(
    kind: str, measured: np.ndarray, predicted: np.ndarray, fitted_on: int, outliers: int = 0
) -> PredictorQuality:
    """Compares predictions with measurements, float64[n] each."""
    from scipy.stats import kendalltau

    tau = float(kendalltau(measured, predicted).statistic)
    rmse = float(np.sqrt(np.mean((np.asarray(measured) - predicted) ** 2)))
    return PredictorQuality(
        kind=kind,
        fitted_on=fitted_on,
        outliers=outliers,
        kendall_tau=tau,
        rmse=rmse,
        measured=tuple(float(value) for value in measured),
        predicted=tuple(float(value) for value in predicted),
    )
