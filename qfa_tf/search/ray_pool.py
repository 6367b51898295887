"""Evaluating on the machines of a Ray cluster; workers that die are replaced."""

import collections
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from qfa_tf.search.evaluator import Evaluation, Evaluator
from qfa_tf.search.worker_pool import MOST_DEATHS, WorkerDeathError
from quantize_configs.errors import InvalidInputError, MissingExtraError


class RayPool:
    """An Evaluator that hands genomes to Ray actors, one CPU each.

    Connects to the cluster that RAY_ADDRESS names, or starts a local one. The machines need the
    package and the workdir at the same path. Results come back to this process, which alone writes
    them down; the genome of an actor that dies goes to another one.

    Args:
      factory: Makes the evaluator of a worker, in the worker; to be pickled.
      workers: Number of actors.
      reference: Has the keys, the split and the number of images of the workers' evaluators.

    Raises:
      MissingExtraError: Ray is not installed.
    """

    def __init__(self, factory: Callable[[], Evaluator], workers: int, reference: Evaluator):
        if workers < 1:
            raise InvalidInputError(f"workers must be at least 1. Received: {workers!r}")
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtraError("The Ray backend", "ray", "ray") from error
        self._ray = ray
        self.checkpoint_key = reference.checkpoint_key
        self.calibration_key = reference.calibration_key
        self.split = reference.split
        self.images = reference.images
        self.calibration_images = reference.calibration_images
        self._factory = factory
        self._count = workers
        self._actors: list = []
        self._started_ray = False

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    @property
    def process_ids(self) -> list[int]:
        """Of the running workers."""
        return self._ray.get([actor.process_id.remote() for actor in self._actors])

    def close(self) -> None:
        """Ends the actors, and Ray if it was started here."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors = []
        if self._started_ray:
            self._ray.shutdown()
            self._started_ray = False

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
        if not len(genomes):
            return
        self._start(min(self._count, len(genomes)))
        waiting = collections.deque(range(len(genomes)))
        idle = collections.deque(self._actors)
        deaths: collections.Counter = collections.Counter()
        tasks: dict = {}
        try:
            while waiting or tasks:
                while waiting and idle:
                    i, actor = waiting.popleft(), idle.popleft()
                    rival = None if to_beat is None else float(to_beat[i])
                    tasks[actor.evaluate.remote(genomes[i], images, rival)] = i, actor
                (ready,), _ = self._ray.wait(list(tasks), num_returns=1)
                i, actor = tasks.pop(ready)
                try:
                    result, seconds = self._ray.get(ready)
                except self._ray.exceptions.RayActorError as error:
                    self._actors.remove(actor)
                    deaths[i] += 1
                    if deaths[i] >= MOST_DEATHS:
                        raise WorkerDeathError(
                            f"{deaths[i]} Ray workers died while they evaluated the genome "
                            f"{genomes[i].tolist()} ({_last_line(error)}). What was evaluated "
                            "before is stored."
                        ) from error
                    waiting.appendleft(i)
                    self._start(len(self._actors) + 1)
                    idle.append(self._actors[-1])
                    continue
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                idle.append(actor)
                yield i, result, seconds
        finally:
            # An error or an interrupt: what is under way belongs to nobody any more.
            for _, actor in tasks.values():
                self._ray.kill(actor)
                self._actors.remove(actor)

    def _start(self, count: int) -> None:
        if not self._ray.is_initialized():
            self._ray.init(configure_logging=False, log_to_driver=False, include_dashboard=False)
            self._started_ray = True
        while len(self._actors) < count:
            self._actors.append(self._ray.remote(num_cpus=1)(_Actor).remote(self._factory))


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()


class _Actor:
    """Evaluates one genome at a time."""

    def __init__(self, factory: Callable[[], Evaluator]):
        self._factory = factory
        self._evaluator: Evaluator | None = None

    def process_id(self) -> int:
        """Of the worker."""
        import os

        return os.getpid()

    def evaluate(
        self, genome: np.ndarray, images: int | None, rival: float | None
    ) -> tuple[Evaluation, float]:
        """Returns the evaluation and the seconds it took."""
        if self._evaluator is None:
            self._evaluator = self._factory()
        began = time.perf_counter()
        to_beat = None if rival is None else np.array([rival])
        (result,) = self._evaluator.evaluate(genome[None], images=images, to_beat=to_beat)
        return result, time.perf_counter() - began
