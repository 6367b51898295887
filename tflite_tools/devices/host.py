"""This computer: the LiteRT runtime in this process."""

import importlib.metadata
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tflite_tools.benchmarking.delegates import UnknownDelegateError, find_delegate, kernel_set_of
from tflite_tools.benchmarking.memory_probe import measure_peak_memory
from tflite_tools.benchmarking.options import BenchmarkOptions
from tflite_tools.devices.device import DeviceInfo, Round
from tflite_tools.devices.inputs import fill_inputs
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.native_notes import without_notes

_THERMAL = pathlib.Path("/sys/class/thermal")
_GOVERNOR = pathlib.Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_MILLIDEGREES = 1000.0


class HostDevice:
    """The device "host"."""

    def info(self) -> DeviceInfo:
        """Processor, runtime, system and governor."""
        governor = _read(_GOVERNOR)
        return DeviceInfo(
            device="host",
            name=host_processor(),
            runtime=f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}",
            abi=platform.machine(),
            system=f"{platform.system()} {platform.release()}",
            governor=governor,
        )

    def temperature_celsius(self) -> float | None:
        """Of the hottest thermal zone."""
        zones = [_read(path) for path in sorted(_THERMAL.glob("thermal_zone*/temp"))]
        values = [float(value) / _MILLIDEGREES for value in zones if value and value.isdigit()]
        return max(values, default=None)

    def load(self, name: str, flatbuffer: bytes, options: BenchmarkOptions) -> "HostModel":
        """Loads a model into this process.

        Raises:
          FlatbufferError: The bytes are no model.
          UnknownDelegateError: The delegate is not available here.
        """
        return HostModel(flatbuffer, options)

    def peak_memory_mb(self, flatbuffer: bytes, options: BenchmarkOptions) -> float | None:
        """Of loading a model and running it once, in a process of its own; None if unknown."""
        kernels = _kernel_set(options)
        return measure_peak_memory(flatbuffer, kernels, options.num_threads)

    def close(self) -> None:
        """Nothing is left behind."""


class HostModel:
    """A model loaded into this process.

    Args:
      flatbuffer: Bytes of a .tflite file.
      options: Threads and delegate.
    """

    def __init__(self, flatbuffer: bytes, options: BenchmarkOptions):
        kernel_set = _kernel_set(options)
        start = time.perf_counter()
        self._interpreter = runtime.load(flatbuffer, kernel_set, options.num_threads)
        with without_notes():
            self._interpreter.allocate_tensors()
        init_ms = (time.perf_counter() - start) * 1e3
        fill_inputs(self._interpreter)
        first_ms = _timed_ms(self._interpreter.invoke, _clock(options))
        operators, partitions = runtime.describe(self._interpreter)
        self._loading: dict[str, Any] = {
            "init_ms": init_ms,
            "first_ms": first_ms,
            "partitions": partitions,
            "delegated_operators": sum(operator.delegated for operator in operators),
        }

    def run(self, options: BenchmarkOptions) -> Round:
        """Warms up and measures at least num_runs inferences over at least min_seconds."""
        for _ in range(options.warmup_runs):
            self._interpreter.invoke()
        times = _measure(self._interpreter.invoke, options)
        return Round(
            count=times.size,
            mean_ms=float(times.mean()),
            std_ms=float(times.std()),
            min_ms=float(times.min()),
            median_ms=float(np.median(times)),
            p5_ms=float(np.percentile(times, 5)),
            p95_ms=float(np.percentile(times, 95)),
            log=" ".join(f"{value:.4f}" for value in times),
            **self._loading,
        )

    def close(self) -> None:
        """Frees the model."""
        del self._interpreter


def host_processor() -> str:
    """Name of the host's processor as the operating system reports it."""
    for line in (_read(pathlib.Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _kernel_set(options: BenchmarkOptions) -> runtime.KernelSet:
    """The CPU kernels that are asked for.

    Raises:
      UnknownDelegateError: There is no such delegate, or it is not available on this computer.
    """
    delegate = find_delegate(options.delegate)
    delegate.flags_for("host")
    kernel_set = kernel_set_of(delegate)
    if kernel_set is None:
        raise UnknownDelegateError(
            f"The delegate {delegate.name!r} ({delegate.title}) has no kernels on this computer."
        )
    return kernel_set


def _clock(options: BenchmarkOptions) -> Callable[[], float]:
    return time.thread_time if options.clock == "cpu" else time.perf_counter


def _timed_ms(call: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return (clock() - start) * 1e3


def _measure(call: Callable[[], None], options: BenchmarkOptions) -> np.ndarray:
    """Times of at least num_runs calls over at least min_seconds, in milliseconds."""
    times: list[float] = []
    clock = _clock(options)
    start = time.perf_counter()
    while len(times) < options.num_runs or time.perf_counter() - start < options.min_seconds:
        times.append(_timed_ms(call, clock))
    return np.array(times)


def _read(path: pathlib.Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
