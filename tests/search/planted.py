"""An evaluator with a planted accuracy."""

import numpy as np

from qfa_tf.search import Evaluation


class PlantedEvaluator:
    """Accuracy as a bumpy but fixed function of the genome; counts, and can be killed.

    Attributes:
      seen: Every genome it was asked, in order.
      limit: Raises KeyboardInterrupt instead of evaluating more than this many.
    """

    checkpoint_key = "step-100"
    calibration_key = "30x64-seed0"
    split = "search_validation"

    def __init__(self, limit=None):
        self.seen = []
        self.limit = limit

    def evaluate(self, genomes):
        results = []
        for genome in genomes:
            if self.limit is not None and len(self.seen) >= self.limit:
                raise KeyboardInterrupt
            self.seen.append(tuple(genome.tolist()))
            results.append(Evaluation(planted_accuracy(genome), 1.5, 1000))
        return results


def planted_accuracy(genome):
    weights = np.sin(3.0 * np.arange(1, len(genome) + 1)) + 0.6
    value = float(np.tanh(np.sum(weights * genome) / 60))
    return round(0.5 + 0.49 * value, 4)
