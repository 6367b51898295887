"""What the search asks of a supernet, and a wrapper that never asks twice."""

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from qfa_tf.search.abandonment import is_hopeless
from qfa_tf.search.store import EvaluationStore
from quantize_configs.errors import InvalidInputError


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What was measured for one subnet.

    Attributes:
      accuracy: Fraction from 0 to 1.
      loss: Mean loss; NaN when it is not finite or was not measured.
      images: Number of images it was measured on.
      answers: A byte per image, 1 where the subnet was right; None where they were not kept.

    Raises:
      InvalidInputError: The accuracy is no fraction or no image was seen.
    """

    accuracy: float
    loss: float
    images: int
    answers: bytes | None = None

    def __post_init__(self):
        if not 0 <= self.accuracy <= 1:
            raise InvalidInputError(
                "The accuracy of a subnet must be a fraction from 0 to 1. "
                f"Received: {self.accuracy!r}"
            )
        if self.images < 1:
            raise InvalidInputError(
                f"A subnet must be evaluated on one image or more. Received: {self.images!r}"
            )
        object.__setattr__(self, "accuracy", float(self.accuracy))
        object.__setattr__(self, "images", int(self.images))
        loss = float(self.loss)
        object.__setattr__(self, "loss", loss if math.isfinite(loss) else math.nan)


class Evaluator(Protocol):
    """Measures subnets.

    Attributes:
      images: Number of images of a full evaluation.
      calibration_images: Number of images that are looked at before, whatever the fidelity.
      checkpoint_key: Identifies the weights.
      calibration_key: Identifies everything else that determines a result: calibration images,
        their number and order, evaluation images, arithmetic.
      split: The images it measures on, for example "search_validation". Never "test".
    """

    checkpoint_key: str
    calibration_key: str
    split: str
    images: int
    calibration_images: int

    def evaluate(
        self,
        genomes: np.ndarray,
        *,
        images: int | None = None,
        to_beat: np.ndarray | None = None,
    ) -> Sequence[Evaluation]:
        """Measures genomes.

        Args:
          genomes: Canonical, int32[n, n_genes].
          images: Measure on the first so many images only; on all by default.
          to_beat: float64[n], the accuracy of a better network that costs no more: a measurement
            ends when it is nearly certain not to reach it (see `abandonment`).

        Returns:
          One Evaluation per genome, in order; its number of images says how far it went.
        """


def partial_key(calibration_key: str, images: int | None) -> str:
    """The calibration key of a measurement on the first `images` images (None: of all)."""
    return calibration_key if images is None else f"{calibration_key}@first{images}"


def abandoned_key(calibration_key: str) -> str:
    """The calibration key of measurements that were abandoned."""
    return f"{calibration_key}@abandoned"


def evaluate_each(
    evaluator: Evaluator,
    genomes: np.ndarray,
    images: int | None = None,
    to_beat: np.ndarray | None = None,
) -> Iterator[tuple[int, Evaluation, float]]:
    """Yields (index, evaluation, seconds) of each genome as soon as it is known.

    An evaluator that works on several at a time has an `evaluate_each` of its own, and may yield
    in any order.
    """
    if hasattr(evaluator, "evaluate_each"):
        yield from evaluator.evaluate_each(genomes, images=images, to_beat=to_beat)
        return
    for i in range(len(genomes)):
        limits: dict[str, Any] = {} if images is None else {"images": images}
        if to_beat is not None and np.isfinite(to_beat[i]):
            limits["to_beat"] = to_beat[i : i + 1]
        began = time.perf_counter()
        (result,) = evaluator.evaluate(genomes[i : i + 1], **limits)
        yield i, result, time.perf_counter() - began


class StoredEvaluator:
    """An Evaluator that looks into a store first and writes each new result there at once.

    Full, partial and abandoned measurements have keys of their own: one never answers for another.
    An abandoned one answers where it would be abandoned again.

    Args:
      evaluator: Measures what the store does not have.
      store: Of the same search space.

    Attributes:
      hits: Results that came from the store.
      misses: Results that were measured.
    """

    def __init__(self, evaluator: Evaluator, store: EvaluationStore):
        self.checkpoint_key = evaluator.checkpoint_key
        self.calibration_key = evaluator.calibration_key
        self.split = evaluator.split
        self.images = evaluator.images
        self.calibration_images = evaluator.calibration_images
        self.hits = 0
        self.misses = 0
        self._evaluator = evaluator
        self._store = store

    def evaluate(
        self,
        genomes: np.ndarray,
        *,
        images: int | None = None,
        to_beat: np.ndarray | None = None,
    ) -> list[Evaluation]:
        """Returns one Evaluation per genome of int32[n, n_genes], in order; see `Evaluator`.

        Raises:
          GenomeError: The genomes are of another space.
          StoreWriteError: The store cannot be written (full disk).
        """
        images = None if images is None or images >= self.images else images
        genomes = self._store.space.canonicalize(genomes)
        rivals = np.full(len(genomes), -np.inf) if to_beat is None else np.asarray(to_beat)
        known: dict[bytes, Evaluation] = {}
        asked: set[bytes] = set()
        missing = []
        stored = self._look_up(genomes, images, rivals)
        for i, (genome, result) in enumerate(zip(genomes, stored, strict=True)):
            key = genome.tobytes()
            if result is not None:
                known[key] = result
                self.hits += 1
            elif key not in asked:
                asked.add(key)
                missing.append(i)
        rest, rest_rivals = genomes[missing], rivals[missing]
        for i, result, seconds in evaluate_each(self._evaluator, rest, images, rest_rivals):
            self._put(rest[i], images, result, seconds)
            known[rest[i].tobytes()] = result
            self.misses += 1
        return [known[genome.tobytes()] for genome in genomes]

    def _look_up(self, genomes, images, rivals) -> list[Evaluation | None]:
        results = self._get(genomes, partial_key(self.calibration_key, images))
        if images is None and np.isfinite(rivals).any():
            abandoned = self._get(genomes, abandoned_key(self.calibration_key))
            for i, (full, part) in enumerate(zip(results, abandoned, strict=True)):
                if full is None and part is not None and self._is_hopeless(part, rivals[i]):
                    results[i] = part
        return results

    def _is_hopeless(self, part: Evaluation, rival: float) -> bool:
        correct = round(part.accuracy * part.images)
        return is_hopeless(correct, part.images, self.images, rival)

    def _get(self, genomes, calibration_key) -> list[Evaluation | None]:
        keys = (self.checkpoint_key, calibration_key, self.split)
        return [
            None if row is None else Evaluation(row.accuracy, row.loss, row.images, row.answers)
            for row in self._store.get_many(genomes, *keys)
        ]

    def _put(self, genome, images, result: Evaluation, seconds: float) -> None:
        wanted = self.images if images is None else images
        is_whole = result.images >= wanted
        self._store.put(
            genome,
            self.checkpoint_key,
            partial_key(self.calibration_key, images)
            if is_whole
            else abandoned_key(self.calibration_key),
            self.split,
            accuracy=result.accuracy,
            loss=result.loss,
            images=result.images,
            seconds=seconds,
            answers=result.answers,
        )
