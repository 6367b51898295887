"""An evaluator with a planted accuracy."""

import numpy as np

from qfa_tf.search import Evaluation
from qfa_tf.search.abandonment import is_hopeless


class PlantedEvaluator:
    """Accuracy as a bumpy but fixed function of the genome; counts, and can be killed.

    Attributes:
      seen: Every genome it was asked to measure in full, in order.
      abandoned: Those whose measurement ended early.
      limit: Raises KeyboardInterrupt instead of evaluating more than this many.
    """

    checkpoint_key = "step-100"
    calibration_key = "30x64-seed0"
    split = "search_validation"
    images = 1000
    calibration_images = 0
    batch = 100

    def __init__(self, limit=None):
        self.seen = []
        self.abandoned = []
        self.limit = limit

    def evaluate(self, genomes, *, images=None, to_beat=None):
        rivals = [-np.inf] * len(genomes) if to_beat is None else to_beat
        results = []
        for genome, rival in zip(genomes, rivals, strict=True):
            if self.limit is not None and len(self.seen) + len(self.abandoned) >= self.limit:
                raise KeyboardInterrupt
            results.append(self._evaluate(genome, images or self.images, rival))
        return results

    def _evaluate(self, genome, images, rival):
        accuracy = planted_accuracy(genome)
        for seen in range(self.batch, images, self.batch):
            if is_hopeless(round(accuracy * seen), seen, self.images, rival):
                self.abandoned.append(tuple(genome.tolist()))
                return Evaluation(accuracy, 1.5, seen)
        self.seen.append(tuple(genome.tolist()))
        return Evaluation(accuracy, 1.5, images)


def planted_accuracy(genome):
    weights = np.sin(3.0 * np.arange(1, len(genome) + 1)) + 0.6
    value = float(np.tanh(np.sum(weights * genome) / 60))
    return round(0.5 + 0.49 * value, 4)
