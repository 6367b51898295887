"""How a benchmark measures."""

import dataclasses
import os

from quantize_configs.arguments import number, whole_number
from quantize_configs.errors import InvalidInputError

CLOCKS = ("wall", "cpu")


class BenchmarkOptionError(InvalidInputError):
    """A device or a number that is not allowed in a benchmark."""


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """How to measure.

    Attributes:
      num_threads: CPU threads.
      warmup_runs: Inferences before the measured ones, the first inference not counted.
      num_runs: Least number of measured inferences, of all rounds together.
      min_seconds: Least time of the measured inferences of all rounds together, in seconds.
      rounds: Turns in which several models are measured.
      cool_down: Pause before each turn of a model, in seconds.
      delegate: One of `tflite_tools.benchmarking.delegates.delegates()`.
      clock: "wall", or "cpu" for the time that a single thread of this computer really computes:
        what the wall clock would show if no other program wanted the processor.
    """

    num_threads: int = 1
    warmup_runs: int = 5
    num_runs: int = 50
    min_seconds: float = 1.0
    rounds: int = 1
    cool_down: float = 0.0
    delegate: str = "cpu"
    clock: str = "wall"

    def __post_init__(self):
        for name in ("num_threads", "num_runs", "rounds", "warmup_runs"):
            whole_number(name, getattr(self, name), 0 if name == "warmup_runs" else 1)
        for name in ("min_seconds", "cool_down"):
            number(name, getattr(self, name), 0)
        if self.clock not in CLOCKS or (self.clock == "cpu" and self.num_threads > 1):
            raise BenchmarkOptionError(
                f"clock is one of {CLOCKS}, and 'cpu' counts one thread only. Received: "
                f"{self.clock!r} with {self.num_threads} thread(s)."
            )

    def of_one_round(self) -> "BenchmarkOptions":
        """The share of one round: runs rounded up."""
        return dataclasses.replace(
            self,
            num_runs=-(-self.num_runs // self.rounds),
            min_seconds=self.min_seconds / self.rounds,
        )


@dataclasses.dataclass(frozen=True)
class DeviceFiles:
    """What the user supplies for a device with an adb.

    Attributes:
      benchmark_model: Path of LiteRT's `benchmark_model` for the device, classic or v2.
      run_model: Path of LiteRT's `run_model`, which the v2 flavour needs to compare outputs.
      libraries: Paths of libraries that a delegate loads, such as the dispatch library of an NPU.
      cpu_mask: Hexadecimal mask of the cores to run on (`taskset`), for example "f0"; all if None.
      timeout: Seconds that one run may take.
    """

    benchmark_model: str | os.PathLike | None = None
    run_model: str | os.PathLike | None = None
    libraries: tuple[str | os.PathLike, ...] = ()
    cpu_mask: str | None = None
    timeout: float = 300.0

    def __post_init__(self):
        mask = self.cpu_mask
        if mask is not None and (not mask or set(mask.lower()) - set("0123456789abcdef")):
            raise BenchmarkOptionError(
                f"cpu_mask is hexadecimal digits, for example 'f0'. Received: {mask!r}."
            )
        if not self.timeout > 0:
            raise BenchmarkOptionError(
                f"timeout must be positive seconds. Received: {self.timeout!r}."
            )
