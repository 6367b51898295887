"""Seconds of training steps, for the benchmarks that compare them."""

import time
from collections.abc import Callable, Iterable

import numpy as np

from quantize_configs.keras_backend import keras


class TimedSteps:
    """A compiled model and the times of its steps on one batch.

    Attributes:
      model: What `made` returned.
      start_seconds: Of making it, with its first step.
      seconds: Of each measured step.
      processor_seconds: The same, all threads together: what a step costs where others use the
        machine, too.

    Args:
      made: Makes the model.
      batch: Images and labels.
    """

    def __init__(
        self, made: Callable[[], keras.Model], batch: tuple[np.ndarray, np.ndarray]
    ) -> None:
        start = time.perf_counter()
        self.model, self._batch = made(), batch
        self._step()
        self.start_seconds = time.perf_counter() - start
        self.seconds: list[float] = []
        self.processor_seconds: list[float] = []

    def _step(self) -> None:
        self.model.train_on_batch(*self._batch)

    def warm_up(self) -> None:
        """Takes a step that does not count, and forgets those before."""
        self._step()
        self.seconds.clear()
        self.processor_seconds.clear()

    def measure(self, steps: int) -> None:
        """Takes some steps and notes the seconds of each."""
        for _ in range(steps):
            start, used = time.perf_counter(), time.process_time()
            self._step()
            self.seconds.append(time.perf_counter() - start)
            self.processor_seconds.append(time.process_time() - used)

    def median(self, figure: str) -> float:
        """Median of "seconds" or "processor_seconds"."""
        return float(np.median(getattr(self, figure)))


def measure_in_turns(measured: Iterable[TimedSteps], rounds: int, steps: int) -> None:
    """Measures all of them in turns, so that a change of the machine's speed meets each."""
    measured = list(measured)
    for one in measured:
        one.warm_up()
    for _ in range(rounds):
        for one in measured:
            one.measure(steps)
