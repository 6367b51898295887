"""What the search asks of a supernet, and a wrapper that never asks twice."""

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from qfa_tf.search.store import EvaluationStore


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What was measured for one subnet.

    Attributes:
      accuracy: Fraction from 0 to 1.
      loss: Mean loss; NaN when it is not finite or was not measured.
      images: Number of images it was measured on.

    Raises:
      ValueError: The accuracy is no fraction or no image was seen.
    """

    accuracy: float
    loss: float
    images: int

    def __post_init__(self):
        if not 0 <= self.accuracy <= 1:
            raise ValueError(
                "The accuracy of a subnet must be a fraction from 0 to 1. "
                f"Received: {self.accuracy!r}"
            )
        if self.images < 1:
            raise ValueError(
                f"A subnet must be evaluated on one image or more. Received: {self.images!r}"
            )
        object.__setattr__(self, "accuracy", float(self.accuracy))
        object.__setattr__(self, "images", int(self.images))
        loss = float(self.loss)
        object.__setattr__(self, "loss", loss if math.isfinite(loss) else math.nan)


class Evaluator(Protocol):
    """Measures subnets.

    Attributes:
      checkpoint_key: Identifies the weights.
      calibration_key: Identifies everything else that determines a result: calibration images,
        their number and order, evaluation images, arithmetic.
      split: The images it measures on, for example "search_validation". Never "test".
    """

    checkpoint_key: str
    calibration_key: str
    split: str

    def evaluate(self, genomes: np.ndarray) -> Sequence[Evaluation]:
        """Returns one Evaluation per canonical genome of int32[n, n_genes], in order."""


class StoredEvaluator:
    """An Evaluator that looks into a store first and writes each new result there at once.

    Args:
      evaluator: Measures what the store does not have.
      store: Of the same search space.
      chunk: How many subnets the evaluator gets at a time; a kill loses at most these.

    Attributes:
      hits: Results that came from the store.
      misses: Results that were measured.
    """

    def __init__(self, evaluator: Evaluator, store: EvaluationStore, *, chunk: int = 1):
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1. Received: {chunk!r}")
        self.checkpoint_key = evaluator.checkpoint_key
        self.calibration_key = evaluator.calibration_key
        self.split = evaluator.split
        self.hits = 0
        self.misses = 0
        self._evaluator = evaluator
        self._store = store
        self._chunk = chunk
        self._keys = (evaluator.checkpoint_key, evaluator.calibration_key, evaluator.split)

    def evaluate(self, genomes: np.ndarray) -> list[Evaluation]:
        """Returns one Evaluation per genome of int32[n, n_genes], in order.

        Raises:
          GenomeError: The genomes are of another space.
          StoreWriteError: The store cannot be written (full disk).
        """
        genomes = self._store.space.canonicalize(genomes)
        stored = self._store.get_many(genomes, *self._keys)
        known = {}
        missing = []
        for genome, row in zip(genomes, stored, strict=True):
            key = genome.tobytes()
            if row is not None:
                known[key] = Evaluation(row.accuracy, row.loss, row.images)
                self.hits += 1
            elif key not in known:
                known[key] = None
                missing.append(genome)
        for start in range(0, len(missing), self._chunk):
            part = np.stack(missing[start : start + self._chunk])
            began = time.perf_counter()
            results = self._evaluator.evaluate(part)
            seconds = (time.perf_counter() - began) / len(part)
            for genome, result in zip(part, results, strict=True):
                self._store.put(
                    genome,
                    *self._keys,
                    accuracy=result.accuracy,
                    loss=result.loss,
                    images=result.images,
                    seconds=seconds,
                )
                known[genome.tobytes()] = result
                self.misses += 1
        return [known[genome.tobytes()] for genome in genomes]
