"""What every kind of device offers, and what a measurement on it gives."""

import dataclasses
from typing import Protocol

from tflite_tools.benchmarking.options import BenchmarkOptions


@dataclasses.dataclass(frozen=True)
class DeviceInfo:
    """What a device tells about itself; None where it does not tell.

    Attributes:
      device: "host" or "adb:SERIAL".
      name: Of the processor or the phone.
      runtime: What runs the models, with its version.
      soc: System on a chip.
      abi: For example "arm64-v8a" or "x86_64".
      system: Operating system and version.
      governor: CPU frequency governor.
    """

    device: str
    name: str
    runtime: str
    soc: str | None = None
    abi: str | None = None
    system: str | None = None
    governor: str | None = None


@dataclasses.dataclass(frozen=True)
class Round:
    """Statistics of consecutive inferences, in milliseconds.

    Attributes:
      count: Inferences.
      mean_ms: Mean.
      std_ms: Standard deviation.
      min_ms: Minimum.
      median_ms: None where the device reports no percentiles; so are the next two.
      p5_ms: 5th percentile.
      p95_ms: 95th percentile.
      init_ms: Loading the model; None when it was loaded before.
      first_ms: The first inference after loading.
      peak_memory_mb: Of the process above what it had before loading, in MB; None if unknown.
      partitions: Delegate partitions; None if unknown.
      delegated_operators: Operators that the delegate took; None if unknown.
      log: Raw output of the device.
    """

    count: int
    mean_ms: float
    std_ms: float
    min_ms: float
    median_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    init_ms: float | None = None
    first_ms: float | None = None
    peak_memory_mb: float | None = None
    partitions: int | None = None
    delegated_operators: int | None = None
    log: str = ""


class LoadedModel(Protocol):
    """A model on a device."""

    def run(self, options: BenchmarkOptions) -> Round:
        """Warms up and measures."""

    def close(self) -> None:
        """Removes the model from the device."""


class Device(Protocol):
    """A device, opened for a while."""

    def info(self) -> DeviceInfo:
        """What the device tells about itself."""

    def temperature_celsius(self) -> float | None:
        """Now; None where it cannot be read."""

    def load(self, name: str, flatbuffer: bytes, options: BenchmarkOptions) -> LoadedModel:
        """Brings a model to the device; `name` is for messages."""

    def close(self) -> None:
        """Leaves nothing behind."""
