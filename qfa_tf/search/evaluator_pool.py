"""What the pools of evaluating workers share: one genome at a time, and what becomes of deaths."""

import abc
import collections
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from qfa_tf.search.evaluator import Evaluation, Evaluator
from quantize_configs.errors import InvalidInputError, UnavailableError

MOST_DEATHS = 3
"""Workers that may die on one genome: then it is not chance."""


class WorkerDeathError(UnavailableError, OSError):
    """Workers keep dying."""


class WorkerDied(Exception):
    """A worker is gone; the pool catches it and gives the genome to another one."""


class Worker(Protocol):
    """Evaluates one genome at a time, elsewhere."""

    @property
    def process_id(self) -> int:
        """Of its process."""

    def give(self, genome: np.ndarray, images: int | None, rival: float | None) -> None:
        """Starts an evaluation; a worker that is dead says so in `take`."""

    def take(self) -> tuple[Evaluation, float]:
        """The evaluation that was started, and the seconds it took.

        Raises:
          WorkerDied: The worker is gone.
          Exception: What the evaluator raised.
        """

    def close(self) -> None:
        """Ends it, after what it is doing."""

    def kill(self) -> None:
        """Ends it at once."""


W = TypeVar("W", bound=Worker)


class EvaluatorPool(abc.ABC, Generic[W]):
    """An Evaluator that hands genomes to workers.

    The workers are started when the first genome comes: a search that finds everything in its store
    never starts one. Each gets one genome at a time, so that the death of one, at whatever moment,
    disturbs no other; the genome it was at goes to another one. Results come back to this process,
    which alone writes them down.

    Args:
      factory: Makes the evaluator of a worker, in the worker; to be pickled.
      workers: Number of workers.
      reference: Has the keys, the split and the number of images of the workers' evaluators.
    """

    def __init__(self, factory: Callable[[], Evaluator], workers: int, reference: Evaluator):
        if workers < 1:
            raise InvalidInputError(f"workers must be at least 1. Received: {workers!r}")
        self.checkpoint_key = reference.checkpoint_key
        self.calibration_key = reference.calibration_key
        self.split = reference.split
        self.images = reference.images
        self.calibration_images = reference.calibration_images
        self._factory = factory
        self._count = workers
        self._workers: list[W] = []

    @abc.abstractmethod
    def _new_worker(self) -> W:
        """Starts a worker."""

    @abc.abstractmethod
    def _first_ready(self, workers: Sequence[W]) -> W:
        """Waits until one of the workers has a result or has died."""

    @abc.abstractmethod
    def _describe_deaths(self, deaths: int, genome: np.ndarray, last: WorkerDied) -> str:
        """The sentence for a genome on which so many workers died."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def process_ids(self) -> list[int]:
        """Of the running workers."""
        return [worker.process_id for worker in self._workers]

    def close(self) -> None:
        """Ends the workers."""
        for worker in self._workers:
            worker.close()
        self._workers = []

    def evaluate(
        self,
        genomes: np.ndarray,
        *,
        images: int | None = None,
        to_beat: np.ndarray | None = None,
    ) -> Sequence[Evaluation]:
        """Returns one Evaluation per genome of int32[n, n_genes], in order; see `Evaluator`."""
        found = self.evaluate_each(genomes, images=images, to_beat=to_beat)
        results = {i: result for i, result, _ in found}
        return [results[i] for i in range(len(genomes))]

    def evaluate_each(
        self,
        genomes: np.ndarray,
        *,
        images: int | None = None,
        to_beat: np.ndarray | None = None,
    ) -> Iterator[tuple[int, Evaluation, float]]:
        """Yields (index, evaluation, seconds) as the results come in.

        Raises:
          WorkerDeathError: A genome has killed several workers.
        """
        waiting = collections.deque(range(len(genomes)))
        deaths: collections.Counter[int] = collections.Counter()
        busy: dict[W, int] = {}
        while len(self._workers) < min(self._count, len(genomes)):
            self._workers.append(self._new_worker())
        try:
            while waiting or busy:
                for worker in self._workers:
                    if worker not in busy and waiting:
                        busy[worker] = i = waiting.popleft()
                        rival = None if to_beat is None else float(to_beat[i])
                        worker.give(genomes[i], images, rival)
                worker = self._first_ready(list(busy))
                i = busy.pop(worker)
                try:
                    result, seconds = worker.take()
                except WorkerDied as death:
                    self._remove(worker)
                    deaths[i] += 1
                    if deaths[i] >= MOST_DEATHS:
                        sentence = self._describe_deaths(deaths[i], genomes[i], death)
                        raise WorkerDeathError(sentence) from death
                    self._workers.append(self._new_worker())
                    waiting.appendleft(i)
                    continue
                yield i, result, seconds
        finally:
            # An error or an interrupt: what is under way belongs to nobody any more.
            for worker in busy:
                self._remove(worker)

    def _remove(self, worker: W) -> None:
        worker.kill()
        self._workers.remove(worker)
