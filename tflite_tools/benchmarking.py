"""Latency of a flatbuffer on a device; in this version the device is the host."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable

import numpy as np

from tflite_tools import runtime


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """How to measure.

    Attributes:
      num_threads: CPU threads.
      warmup_runs: Inferences before the measured ones, the first inference not counted.
      num_runs: Least number of measured inferences.
      min_seconds: Least time of the measured inferences, in seconds.
    """

    num_threads: int
    warmup_runs: int
    num_runs: int
    min_seconds: float

    def __post_init__(self):
        if min(self.num_threads, self.num_runs) < 1 or self.warmup_runs < 0 or self.min_seconds < 0:
            raise ValueError(
                "A benchmark needs num_threads and num_runs of at least 1, warmup_runs and "
                f"min_seconds of at least 0. Received: {self}."
            )


@dataclasses.dataclass(frozen=True)
class BenchmarkReport:
    """Latency of one model; times are wall-clock milliseconds of single inferences of batch 1.

    Attributes:
      device: Where it ran, for example "host".
      device_name: Name of the processor.
      runtime: Runtime and version.
      num_threads: CPU threads.
      runs: Number of measured inferences.
      init_ms: Loading the model and preparing the kernels.
      first_ms: The first inference.
      median_ms: Median of the measured inferences; so are the following.
      p5_ms: 5th percentile.
      p95_ms: 95th percentile.
      mean_ms: Mean.
      std_ms: Standard deviation.
      file_bytes: Size of the flatbuffer in bytes.
      partitions: Delegate partitions.
      fully_delegated: Whether one partition runs the whole model.
    """

    device: str
    device_name: str
    runtime: str
    num_threads: int
    runs: int
    init_ms: float
    first_ms: float
    median_ms: float
    p5_ms: float
    p95_ms: float
    mean_ms: float
    std_ms: float
    file_bytes: int
    partitions: int
    fully_delegated: bool

    def as_dict(self) -> dict:
        """The report in plain types, for JSON or a CSV row."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.as_dict(), indent=2)

    def __str__(self):
        delegation = "fully delegated" if self.fully_delegated else "not fully delegated"
        return (
            f"{self.median_ms:.3f} ms median ({self.p5_ms:.3f} to {self.p95_ms:.3f}, mean "
            f"{self.mean_ms:.3f} +- {self.std_ms:.3f}) over {self.runs} runs, "
            f"{self.num_threads} thread(s); init {self.init_ms:.1f} ms, first "
            f"{self.first_ms:.3f} ms; {self.file_bytes} bytes, {self.partitions} partition(s), "
            f"{delegation}; "
            f"{self.device}: {self.device_name}, {self.runtime}"
        )


def benchmark(
    flatbuffer: bytes | str | os.PathLike,
    device: str = "host",
    num_threads: int = 1,
    warmup_runs: int = 5,
    num_runs: int = 50,
    min_seconds: float = 1.0,
) -> BenchmarkReport:
    """Measures single-image latency.

    Args:
      flatbuffer: Bytes of a .tflite file, or its path.
      device: "host".
      num_threads: CPU threads.
      warmup_runs: Inferences to throw away after the first.
      num_runs: Least number of measured inferences.
      min_seconds: Measure at least this long, in seconds.

    Returns:
      The report.

    Raises:
      ValueError: The device or a number is not allowed.
      FlatbufferError: The bytes are no model.
      FileNotFoundError: There is no file at the path.
    """
    options = BenchmarkOptions(num_threads, warmup_runs, num_runs, min_seconds)
    kind, _, address = device.partition(":")
    if kind not in DEVICES:
        raise ValueError(
            f"Only the devices {sorted(DEVICES)} are available in this version. Received: "
            f"{device!r}. Benchmark on the host, or copy the file to the device and run LiteRT's "
            "benchmark_model there."
        )
    return DEVICES[kind](_content(flatbuffer), address, options)


def _content(flatbuffer: bytes | str | os.PathLike) -> bytes:
    if isinstance(flatbuffer, bytes | bytearray | memoryview):
        return bytes(flatbuffer)
    path = pathlib.Path(flatbuffer)
    if not path.is_file():
        raise FileNotFoundError(f"There is no model at {path}; export one or correct the path.")
    return path.read_bytes()


def _benchmark_host(flatbuffer: bytes, address: str, options: BenchmarkOptions) -> BenchmarkReport:
    if address:
        raise ValueError(f"The host has no address. Received: device='host:{address}'; use 'host'.")
    start = time.perf_counter()
    interpreter = runtime.load(flatbuffer, num_threads=options.num_threads)
    interpreter.allocate_tensors()
    init_ms = (time.perf_counter() - start) * 1e3
    _fill_inputs(interpreter)
    first_ms = _timed_ms(interpreter.invoke)
    for _ in range(options.warmup_runs):
        interpreter.invoke()
    times = _measure(interpreter.invoke, options)
    operators, partitions = runtime.describe(interpreter)
    return BenchmarkReport(
        device="host",
        device_name=host_processor(),
        runtime=f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}",
        num_threads=options.num_threads,
        runs=times.size,
        init_ms=init_ms,
        first_ms=first_ms,
        median_ms=float(np.median(times)),
        p5_ms=float(np.percentile(times, 5)),
        p95_ms=float(np.percentile(times, 95)),
        mean_ms=float(times.mean()),
        std_ms=float(times.std()),
        file_bytes=len(flatbuffer),
        partitions=partitions,
        fully_delegated=partitions == 1 and all(operator.delegated for operator in operators),
    )


def _fill_inputs(interpreter) -> None:
    """Random inputs: zeros would flatter kernels that skip them."""
    rng = np.random.default_rng(0)
    for details in interpreter.get_input_details():
        shape, dtype = tuple(details["shape"]), np.dtype(details["dtype"])
        if dtype.kind == "f":
            values = rng.normal(size=shape).astype(dtype)
        else:
            values = rng.integers(0, 100, shape).astype(dtype)
        interpreter.set_tensor(details["index"], values)


def _timed_ms(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def _measure(call: Callable[[], None], options: BenchmarkOptions) -> np.ndarray:
    """Times of at least num_runs calls over at least min_seconds, in milliseconds."""
    times = []
    start = time.perf_counter()
    while len(times) < options.num_runs or time.perf_counter() - start < options.min_seconds:
        times.append(_timed_ms(call))
    return np.array(times)


def host_processor() -> str:
    """Name of the host's processor as the operating system reports it."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


#: Benchmark of each kind of device: (flatbuffer, address after the colon, options) -> report.
DEVICES: dict[str, Callable[[bytes, str, BenchmarkOptions], BenchmarkReport]] = {
    "host": _benchmark_host,
}
