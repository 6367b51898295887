"""Evaluating on the machines of a Ray cluster; workers that die are replaced."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qfa_tf.search.evaluator import Evaluation, Evaluator
from qfa_tf.search.evaluator_pool import EvaluatorPool, WorkerDied
from quantize_configs.errors import MissingExtraError


class _Worker:
    """An actor and what it is doing."""

    def __init__(self, ray: Any, factory: Callable[[], Evaluator]):
        self._ray = ray
        self._actor = ray.remote(num_cpus=1)(_Actor).remote(factory)
        self.result: Any = None

    @property
    def process_id(self) -> int:
        return self._ray.get(self._actor.process_id.remote())

    def give(self, genome: np.ndarray, images: int | None, rival: float | None) -> None:
        self.result = self._actor.evaluate.remote(genome, images, rival)

    def take(self) -> tuple[Evaluation, float]:
        try:
            return self._ray.get(self.result)
        except self._ray.exceptions.RayActorError as error:
            raise WorkerDied(str(error).strip().splitlines()[-1].strip()) from error
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def close(self) -> None:
        self.kill()

    def kill(self) -> None:
        self._ray.kill(self._actor)


class RayPool(EvaluatorPool[_Worker]):
    """An EvaluatorPool of Ray actors, one CPU each.

    Connects to the cluster that RAY_ADDRESS names, or starts a local one. The machines need the
    package and the workdir at the same path.

    Raises:
      MissingExtraError: Ray is not installed.
    """

    def __init__(self, factory: Callable[[], Evaluator], workers: int, reference: Evaluator):
        super().__init__(factory, workers, reference)
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtraError("The Ray backend", "ray", "ray") from error
        self._ray = ray
        self._started_ray = False

    def _new_worker(self) -> _Worker:
        if not self._ray.is_initialized():
            self._ray.init(configure_logging=False, log_to_driver=False, include_dashboard=False)
            self._started_ray = True
        return _Worker(self._ray, self._factory)

    def _first_ready(self, workers: Sequence[_Worker]) -> _Worker:
        results = {worker.result: worker for worker in workers}
        (ready,), _ = self._ray.wait(list(results), num_returns=1)
        return results[ready]

    def _describe_deaths(self, deaths: int, genome: np.ndarray, last: WorkerDied) -> str:
        return (
            f"{deaths} Ray workers died while they evaluated the genome {genome.tolist()} "
            f"({last}). What was evaluated before is stored."
        )

    def close(self) -> None:
        """Ends the actors, and Ray if it was started here."""
        super().close()
        if self._started_ray:
            self._ray.shutdown()
            self._started_ray = False


class _Actor:
    """Evaluates one genome at a time."""

    def __init__(self, factory: Callable[[], Evaluator]):
        self._factory = factory
        self._evaluator: Evaluator | None = None

    def process_id(self) -> int:
        """Of the worker."""
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
