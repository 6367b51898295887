"""Latency of flatbuffers on a device: this computer, or a phone behind adb."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping

from tflite_tools.benchmarking.options import (
    BenchmarkOptionError,
    BenchmarkOptions,
    DeviceFiles,
)
from tflite_tools.benchmarking.report import BenchmarkReport, combine
from tflite_tools.devices.device import Device, Round
from tflite_tools.devices.host import HostDevice, host_processor
from tflite_tools.flatbuffer.content import ModelFile, content_of

__all__ = ["BenchmarkReport", "benchmark", "benchmark_all", "host_processor", "open_device"]

DEVICES = ("host", "adb")
"""Kinds of devices; what follows the colon of "adb:" is a serial number."""


def benchmark(
    flatbuffer: ModelFile,
    device: str = "host",
    num_threads: int = 1,
    warmup_runs: int = 5,
    num_runs: int = 50,
    min_seconds: float = 1.0,
    *,
    delegate: str = "cpu",
    rounds: int = 1,
    cool_down: float = 0.0,
    clock: str = "wall",
    files: DeviceFiles | None = None,
) -> BenchmarkReport:
    """Measures single-image latency.

    Args:
      flatbuffer: Bytes of a .tflite file, or its path.
      device: "host", or "adb:SERIAL" for an Android phone.
      num_threads: CPU threads.
      warmup_runs: Inferences to throw away after the first.
      num_runs: Least number of measured inferences.
      min_seconds: Measure at least this long, in seconds.
      delegate: What executes the model, one of `tflite_tools.benchmarking.delegates.delegates()`.
      rounds: Over how many turns the inferences are spread; on a phone, starts of the program.
      cool_down: Pause before each turn, in seconds.
      clock: "wall", or "cpu" for the time that one thread of the host really computes.
      files: Programs and libraries for a phone, such as its `benchmark_model`.

    Returns:
      The report.

    Raises:
      BenchmarkOptionError: The device or a number is not allowed.
      UnknownDelegateError: There is no such delegate on the device.
      FlatbufferError: The bytes are no model.
      MissingFileError: There is no file at the path.
      DeviceError: The device cannot do it; the sentence says why.
    """
    options = BenchmarkOptions(
        num_threads, warmup_runs, num_runs, min_seconds, rounds, cool_down, delegate, clock
    )
    content = content_of(flatbuffer)
    with open_device(device, files) as opened:
        return benchmark_all({"the model": content}, opened, options)["the model"]


def benchmark_all(
    flatbuffers: Mapping[str, bytes],
    device: Device,
    options: BenchmarkOptions,
    *,
    measure_memory: bool = True,
) -> dict[str, BenchmarkReport]:
    """Measures several models in turns, so that a drift of the device meets all of them.

    Every other turn goes through the models in reverse.

    Args:
      flatbuffers: Bytes of .tflite files by name.
      device: From `open_device`.
      options: How to measure each of them.
      measure_memory: Whether to look for the peak memory on this computer, which takes a process
        for each model.

    Returns:
      Reports by name.

    Raises:
      FlatbufferError: Some bytes are no model.
      UnknownDelegateError: There is no such delegate on the device.
      DeviceError: The device cannot do it; the sentence says why.
    """
    share = options.of_one_round()
    info = device.info()
    with contextlib.ExitStack() as stack:
        models = {}
        for name, content in flatbuffers.items():
            models[name] = device.load(name, content, options)
            stack.callback(models[name].close)
        measured: dict[str, list[Round]] = {name: [] for name in models}
        temperatures = [device.temperature_celsius()]
        for turn in range(options.rounds):
            for name in list(models)[:: -1 if turn % 2 else 1]:
                time.sleep(options.cool_down)
                measured[name].append(models[name].run(share))
        temperatures.append(device.temperature_celsius())
    reports = {
        name: combine(info, options, flatbuffers[name], rounds, temperatures)
        for name, rounds in measured.items()
    }
    if not measure_memory or not hasattr(device, "peak_memory_mb"):  # a phone reports it itself
        return reports
    return {
        name: dataclasses.replace(
            report, peak_memory_mb=device.peak_memory_mb(flatbuffers[name], options)
        )
        for name, report in reports.items()
    }


@contextlib.contextmanager
def open_device(device: str, files: DeviceFiles | None = None) -> Iterator[Device]:
    """Opens a device; on the way out, nothing is left behind on it.

    Args:
      device: "host" or "adb:SERIAL".
      files: Programs and libraries for a phone.

    Raises:
      BenchmarkOptionError: There is no such kind of device.
      DeviceError: The device cannot be used.
    """
    kind, colon, address = device.partition(":")
    if kind == "host" and colon:
        raise BenchmarkOptionError(
            f"The host has no address. Received: device={device!r}; use 'host'."
        )
    opened: Device
    if kind == "host":
        opened = HostDevice()
    elif kind == "adb":
        from tflite_tools.devices.android import AndroidDevice

        opened = AndroidDevice(address, files or DeviceFiles())
    else:
        raise BenchmarkOptionError(
            f"A device is 'host', or 'adb:SERIAL' with the serial number of a phone from `adb "
            f"devices`. Received: {device!r}."
        )
    try:
        yield opened
    finally:
        opened.close()
