"""Evaluating in several processes at once; a worker that dies is replaced and its work repeated."""

import collections
import contextlib
import multiprocessing
import multiprocessing.connection
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from qfa_tf.search.evaluator import Evaluation, Evaluator
from quantize_configs.errors import InvalidInputError, UnavailableError

MOST_DEATHS = 3
"""Deaths at one and the same genome, after which it is given up."""
_PATIENCE = 10.0  # seconds for a worker to end by itself


class WorkerDeathError(UnavailableError, OSError):
    """Workers keep dying."""


class WorkerPool:
    """An Evaluator that hands genomes to processes of its own.

    The processes are started when the first genome comes: a search that finds everything in its
    store never starts one. Each gets one genome at a time over a pipe of its own, so that the
    death of one, at whatever moment, disturbs no other; the genome it was at goes to another one.
    Results come back to this process, which alone writes them down.

    Args:
      factory: Makes the evaluator of a worker, in the worker; to be pickled.
      workers: Number of processes.
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
        self._workers: list[_Worker] = []

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    @property
    def process_ids(self) -> list[int]:
        """Of the running workers."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

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
        while len(self._workers) < min(self._count, len(genomes)):
            self._workers.append(_Worker(self._factory))
        left = len(genomes)
        try:
            while left:
                for worker in self._workers:
                    if worker.task is None and waiting:
                        i = waiting.popleft()
                        rival = None if to_beat is None else float(to_beat[i])
                        worker.give(i, genomes[i], images, rival)
                for worker in _ready(self._workers):
                    task, answer = worker.take()
                    if task is None or answer is None:
                        self._replace(worker)
                        if task is not None:
                            deaths[task] += 1
                            self._check(deaths[task], genomes[task])
                            waiting.appendleft(task)
                        continue
                    result, seconds = answer
                    if isinstance(result, Exception):
                        raise result
                    left -= 1
                    yield task, result, seconds
        finally:
            # An error or an interrupt: what is under way belongs to nobody any more.
            for worker in [worker for worker in self._workers if worker.task is not None]:
                worker.kill()
                self._workers.remove(worker)

    def _replace(self, worker: "_Worker") -> None:
        worker.kill()
        self._workers[self._workers.index(worker)] = _Worker(self._factory)

    def _check(self, deaths: int, genome: np.ndarray) -> None:
        if deaths >= MOST_DEATHS:
            self.close()
            raise WorkerDeathError(
                f"{deaths} worker processes died while they evaluated the genome "
                f"{genome.tolist()}. Most likely the memory does not suffice: use fewer --workers. "
                "What was evaluated before is stored."
            )


class _Worker:
    """A process, its pipe, and what it is doing."""

    def __init__(self, factory: Callable[[], Evaluator]):
        # Not forked: TensorFlow does not survive that.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, factory), daemon=True)
        self.process.start()
        theirs.close()
        self.task: int | None = None

    def give(self, task: int, genome: np.ndarray, images: int | None, rival: float | None) -> None:
        self.task = task
        with contextlib.suppress(OSError):  # it has died; `take` will tell
            self.pipe.send((genome, images, rival))

    def take(self) -> tuple[int | None, tuple[Any, float] | None]:
        """Returns the task and (result or exception, seconds), None in place of an answer when
        the process died."""
        task, self.task = self.task, None
        try:
            return task, self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return task, None

    def close(self) -> None:
        self.pipe.close()  # ends the loop in `_work`
        self.process.join(_PATIENCE if self.task is None else 0)
        self.kill()

    def kill(self) -> None:
        self.pipe.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Waits until a worker has an answer or has died."""
    events: dict[Any, _Worker] = {worker.pipe: worker for worker in workers}
    events |= {worker.process.sentinel: worker for worker in workers}
    ready = multiprocessing.connection.wait(list(events))
    return list({id(events[event]): events[event] for event in ready}.values())


def _work(pipe, factory: Callable[[], Evaluator]) -> None:
    """What a worker process does, until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    evaluator = None
    while True:
        try:
            genome, images, rival = pipe.recv()
        except (EOFError, OSError):
            return
        began = time.perf_counter()
        try:
            if evaluator is None:
                evaluator = factory()
                began = time.perf_counter()
            to_beat = None if rival is None else np.array([rival])
            answer: Evaluation | Exception
            (answer,) = evaluator.evaluate(genome[None], images=images, to_beat=to_beat)
        except Exception as error:
            answer = _portable(error)
        try:
            pipe.send((answer, time.perf_counter() - began))
        except OSError:
            return


def _portable(error: Exception) -> Exception:
    """The error itself if it can be pickled, else its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
