"""Searching by any metric: an Evaluator of `qfa_tf.search` around a supernet in memory."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from qfa_tf.search import Evaluation
from qfa_tf.supernet.protocol import Supernet
from quantize_configs.errors import InvalidInputError

LOSS = "loss"


class MetricEvaluator:
    """Measures subnets by one metric of `compile`, which a search then minimises or maximises.

    A search compares fractions from 0 to 1, of which more is better. Here that is a score: with a
    metric v >= 0 and the value r that the largest subnet has, r / (r + v) where less is better,
    else v / (r + v). It is 1/2 for the largest subnet, and its order is that of the metric. `value`
    gives the metric again.

    Args:
      net: Compiled with a loss, and with that metric.
      dataset: Batches of (images, labels), none of them test images.
      calibration: Batches of training images.
      metric: Its name as `evaluate_architecture` has it, or "loss".
      minimize: Whether less is better.
      checkpoint_key: Identifies the weights, where the search has a store.

    Attributes:
      reference: The value of the largest subnet.

    Raises:
      InvalidInputError: There is no such metric, or its value is negative.
    """

    split = "search_validation"

    def __init__(
        self,
        net: Supernet,
        dataset: Iterable,
        calibration: Iterable,
        *,
        metric: str = LOSS,
        minimize: bool = True,
        checkpoint_key: str = "memory",
    ):
        self._net = net
        self._dataset = list(dataset)
        self._calibration = list(calibration)
        self._metric = metric
        self._minimize = minimize
        self.checkpoint_key = checkpoint_key
        self.images = sum(int(np.shape(images)[0]) for images, _ in self._dataset)
        self.calibration_images = sum(int(np.shape(_images(one))[0]) for one in self._calibration)
        self.calibration_key = f"{metric}-{self._digest()}"
        self.reference = self._measured(net.space.largest())

    def evaluate(
        self,
        genomes: np.ndarray,
        *,
        images: int | None = None,
        to_beat: np.ndarray | None = None,
    ) -> Sequence[Evaluation]:
        """One Evaluation per genome of int32 [n, n_genes], in order, whose accuracy is the score.

        Args:
          genomes: Canonical.
          images: Not used: metrics of a part of the images are no metrics of all.
          to_beat: Not used.
        """
        found = []
        for genome in genomes:
            value = self._measured(self._net.space.decode(genome))
            found.append(Evaluation(self.score(value), math.nan, self.images))
        return found

    def score(self, value: float) -> float:
        """The fraction that stands for a value of the metric."""
        better = self.reference if self._minimize else value
        total = self.reference + value
        return better / total if total > 0 else 0.5

    def value(self, score: float) -> float:
        """The value of the metric that a score stands for."""
        if self._minimize:
            return self.reference * (1.0 - score) / score if score > 0 else math.inf
        return self.reference * score / (1.0 - score) if score < 1 else math.inf

    def _measured(self, arch: Any) -> float:
        net = self._net
        calibration = net.calibrate(self._calibration, arch, batches=len(self._calibration))
        found = net.evaluate_architecture(arch, self._dataset, calibration)
        if self._metric not in found:
            raise InvalidInputError(
                f"metric must be one of {[name for name in found if name != 'images']}, which "
                f"compile was given. Received: {self._metric!r}."
            )
        value = float(found[self._metric])
        if not (math.isfinite(value) and value >= 0):
            raise InvalidInputError(
                f"A search takes metrics from 0 upwards. {self._metric!r} is {value}."
            )
        return value

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for images, _ in self._dataset:
            digest.update(np.asarray(images).tobytes())
        for batch in self._calibration:
            digest.update(np.asarray(_images(batch)).tobytes())
        return digest.hexdigest()[:16]


def _images(batch: Any) -> Any:
    return batch[0] if isinstance(batch, tuple | list) else batch
