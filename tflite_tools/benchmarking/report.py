"""What a benchmark found for one model."""

import dataclasses
import json
import math
from collections.abc import Sequence

import numpy as np

from tflite_tools.benchmarking.options import BenchmarkOptions
from tflite_tools.devices.device import DeviceInfo, Round


@dataclasses.dataclass(frozen=True)
class BenchmarkReport:
    """Latency of one model; times are milliseconds of single inferences of batch 1.

    Attributes:
      device: Where it ran, "host" or "adb:SERIAL".
      device_name: Name of the processor or the phone.
      runtime: Runtime and version.
      num_threads: CPU threads.
      runs: Number of measured inferences.
      init_ms: Loading the model and preparing the kernels; None if the device does not tell.
      first_ms: The first inference; None if the device does not tell.
      median_ms: Median of the measured inferences; their mean where `percentiles` is False.
      p5_ms: 5th percentile; None where `percentiles` is False.
      p95_ms: 95th percentile; None where `percentiles` is False.
      mean_ms: Mean.
      std_ms: Standard deviation.
      file_bytes: Size of the flatbuffer in bytes.
      partitions: Delegate partitions; None if the device does not tell.
      fully_delegated: Whether one partition runs the whole model; None if the device does not tell.
      delegate: The delegate that was asked for.
      operators: Operators of the model.
      delegated_operators: Those that the delegate really took; None if the device does not tell.
      min_ms: The fastest inference.
      percentiles: Whether the device reports percentiles.
      round_medians_ms: Median of each turn, in order.
      warmup_runs: Inferences thrown away in each turn.
      cool_down: Pause before each turn, in seconds.
      clock: "wall", or "cpu" for the time that the thread really computed.
      peak_memory_mb: By how much loading and running raise the memory of a process, in MB; None
        if unknown.
      soc: System on a chip; None if unknown, and so are the following.
      abi: For example "arm64-v8a".
      system: Operating system and version.
      governor: CPU frequency governor.
      temperatures_celsius: Before and after.
      log: Raw output of the device; not part of `as_dict`.
    """

    device: str
    device_name: str
    runtime: str
    num_threads: int
    runs: int
    init_ms: float | None
    first_ms: float | None
    median_ms: float
    p5_ms: float | None
    p95_ms: float | None
    mean_ms: float
    std_ms: float
    file_bytes: int
    partitions: int | None
    fully_delegated: bool | None
    delegate: str
    operators: int
    delegated_operators: int | None
    min_ms: float
    percentiles: bool
    round_medians_ms: tuple[float, ...]
    warmup_runs: int
    cool_down: float
    clock: str
    peak_memory_mb: float | None
    soc: str | None
    abi: str | None
    system: str | None
    governor: str | None
    temperatures_celsius: tuple[float | None, float | None]
    log: str = dataclasses.field(repr=False, compare=False)

    @property
    def spread(self) -> float:
        """Largest minus smallest median of a turn, as a fraction of the median."""
        return (max(self.round_medians_ms) - min(self.round_medians_ms)) / self.median_ms

    def as_dict(self) -> dict:
        """The report in plain types, without the log, for JSON or a CSV row."""
        fields = dataclasses.asdict(self)
        del fields["log"]
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
        }

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.as_dict(), indent=2)

    def delegation(self) -> str:
        """What the delegate really took, as a phrase."""
        if self.partitions is None:
            return f"{self.delegate} asked for, the device does not tell what it took"
        if self.fully_delegated:
            return f"{self.partitions} partition(s), fully delegated"
        taken = "some" if self.delegated_operators is None else self.delegated_operators
        return (
            f"{self.partitions} partition(s), not fully delegated ({taken} of {self.operators} "
            "operators)"
        )

    def __str__(self):
        spread = ""
        if self.percentiles:
            spread = f" ({self.p5_ms:.3f} to {self.p95_ms:.3f}"
        unit = "ms of CPU time" if self.clock == "cpu" else "ms"
        kind = "median" if self.percentiles else "mean (no percentiles from the device)"
        mean = f"{', ' if spread else ' ('}mean {self.mean_ms:.3f} +- {self.std_ms:.3f})"
        text = (
            f"{self.median_ms:.3f} {unit} {kind}{spread}{mean} over {self.runs} runs, "
            f"{self.num_threads} thread(s); "
        )
        if len(self.round_medians_ms) > 1:
            count = len(self.round_medians_ms)
            text += f"{count} rounds differ by {100 * self.spread:.1f} %; "
        text += "".join(
            f"{label} {value:.3f} {unit}, "
            for label, value, unit in (
                ("init", self.init_ms, "ms"),
                ("first", self.first_ms, "ms"),
                ("peak memory", self.peak_memory_mb, "MB"),
            )
            if value is not None
        )
        text = f"{text.removesuffix(', ')}; {self.file_bytes} bytes, {self.delegation()}; "
        parts = [self.device_name, self.soc, self.abi, self.system, self.governor]
        described = ", ".join(filter(None, parts))
        before, after = self.temperatures_celsius
        if before is not None and after is not None:
            described += f", {before:.1f} to {after:.1f} C"
        return f"{text}{self.device}: {described}, {self.runtime}"


def combine(
    info: DeviceInfo,
    options: BenchmarkOptions,
    flatbuffer: bytes,
    rounds: Sequence[Round],
    temperatures: Sequence[float | None],
) -> BenchmarkReport:
    """One report from the rounds of a model.

    Percentiles are the medians of those of the rounds, mean and standard deviation those of all
    inferences.

    Args:
      info: Of the device.
      options: How it was measured.
      flatbuffer: The model.
      rounds: At least one.
      temperatures: Before and after, in degrees Celsius.
    """
    from tflite_tools.flatbuffer.inspection import inspect

    operators = len(inspect(flatbuffer, delegation=False).layers)
    counts = np.array([item.count for item in rounds], float)
    means = np.array([item.mean_ms for item in rounds])
    stds = np.array([item.std_ms for item in rounds])
    mean = float(np.average(means, weights=counts))
    variance = np.average(stds**2 + (means - mean) ** 2, weights=counts)
    known_medians = [item.median_ms for item in rounds if item.median_ms is not None]
    percentiles = len(known_medians) == len(rounds)
    medians = known_medians if percentiles else [item.mean_ms for item in rounds]

    def middle(field: str) -> float | None:
        values = [getattr(item, field) for item in rounds]
        return None if None in values else float(np.median(values))

    partitions, taken = rounds[-1].partitions, rounds[-1].delegated_operators
    peaks = [item.peak_memory_mb for item in rounds if item.peak_memory_mb is not None]
    return BenchmarkReport(
        device=info.device,
        device_name=info.name,
        runtime=info.runtime,
        num_threads=options.num_threads,
        runs=int(counts.sum()),
        init_ms=rounds[0].init_ms,
        first_ms=rounds[0].first_ms,
        median_ms=float(np.median(medians)),
        p5_ms=middle("p5_ms") if percentiles else None,
        p95_ms=middle("p95_ms") if percentiles else None,
        mean_ms=mean,
        std_ms=math.sqrt(variance),
        file_bytes=len(flatbuffer),
        partitions=partitions,
        fully_delegated=None if partitions is None else partitions == 1 and taken == operators,
        delegate=options.delegate,
        operators=operators,
        delegated_operators=taken,
        min_ms=min(item.min_ms for item in rounds),
        percentiles=percentiles,
        round_medians_ms=tuple(medians),
        warmup_runs=options.warmup_runs,
        cool_down=options.cool_down,
        clock=options.clock,
        peak_memory_mb=max(peaks, default=None),
        soc=info.soc,
        abi=info.abi,
        system=info.system,
        governor=info.governor,
        temperatures_celsius=(temperatures[0], temperatures[-1]),
        log="\n".join(item.log for item in rounds),
    )
