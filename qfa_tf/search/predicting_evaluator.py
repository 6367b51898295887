"""An evaluator that answers with predictions."""

from collections.abc import Sequence

import numpy as np

from qfa_tf.search.evaluator import Evaluation
from qfa_tf.search.predictors import Predictor

PREDICTED = "predicted"
"""Follows the name of the split wherever accuracies are predictions."""


class PredictingEvaluator:
    """Predicted accuracies; never to be put in front of a store.

    Args:
      predictor: Fitted before.
    """

    calibration_images = 0

    def __init__(self, predictor: Predictor):
        facts = predictor.facts
        self.checkpoint_key = str(facts["checkpoint_key"])
        self.calibration_key = str(facts["calibration_key"])
        self.split = f"{facts['split']}, {PREDICTED}"
        self.images = int(facts["images"])
        self._predictor = predictor

    def evaluate(
        self,
        genomes: np.ndarray,
        *,
        images: int | None = None,
        to_beat: np.ndarray | None = None,
    ) -> Sequence[Evaluation]:
        """Returns one Evaluation per genome; the limits do not matter here."""
        del images, to_beat
        accuracies = self._predictor.predict(genomes)
        return [Evaluation(accuracy, float("nan"), self.images) for accuracy in accuracies]
