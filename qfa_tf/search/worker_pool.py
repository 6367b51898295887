"""Evaluating in several processes, one genome at a time each; processes that die are replaced."""

import contextlib
import multiprocessing
import multiprocessing.connection
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qfa_tf.search.evaluator import Evaluation, Evaluator
from qfa_tf.search.evaluator_pool import EvaluatorPool, WorkerDied

_PATIENCE = 10.0  # seconds for a worker to end by itself


class _Worker:
    """A process and its pipe."""

    def __init__(self, factory: Callable[[], Evaluator]):
        # Not forked: TensorFlow does not survive that.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, factory), daemon=True)
        self.process.start()
        theirs.close()
        self._idle = True

    @property
    def process_id(self) -> int:
        assert self.process.pid is not None, "started"
        return self.process.pid

    def give(self, genome: np.ndarray, images: int | None, rival: float | None) -> None:
        self._idle = False
        with contextlib.suppress(OSError):  # it has died; `take` will tell
            self.pipe.send((genome, images, rival))

    def take(self) -> tuple[Evaluation, float]:
        self._idle = True
        try:
            result, seconds = self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise WorkerDied from error
        if isinstance(result, Exception):
            raise result
        return result, seconds

    def close(self) -> None:
        self.pipe.close()  # ends the loop in `_work`
        self.process.join(_PATIENCE if self._idle else 0)
        self.kill()

    def kill(self) -> None:
        self.pipe.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


class WorkerPool(EvaluatorPool[_Worker]):
    """An EvaluatorPool of processes on this machine, each with a pipe of its own."""

    def _new_worker(self) -> _Worker:
        return _Worker(self._factory)

    def _first_ready(self, workers: Sequence[_Worker]) -> _Worker:
        events: dict[Any, _Worker] = {worker.pipe: worker for worker in workers}
        events |= {worker.process.sentinel: worker for worker in workers}
        return events[multiprocessing.connection.wait(list(events))[0]]

    def _describe_deaths(self, deaths: int, genome: np.ndarray, last: WorkerDied) -> str:
        return (
            f"{deaths} worker processes died while they evaluated the genome {genome.tolist()}. "
            "Most likely the memory does not suffice: use fewer --workers. What was evaluated "
            "before is stored."
        )


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
        answer: Evaluation | Exception
        try:
            if evaluator is None:
                evaluator = factory()
                began = time.perf_counter()
            to_beat = None if rival is None else np.array([rival])
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
