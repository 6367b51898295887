"""Reading what LiteRT's two `benchmark_model` programs print.

Both print the lines of their common base (`count=...`, "Initialized session"); classic sums up in
"Inference timings in us", v2 in "BENCHMARK RESULTS". Sources: LiteRT
tflite/tools/benchmark/benchmark_model.cc, litert/tools/benchmark_litert_model.h and the statistics
of tsl/util/stats_calculator.h (which print p5, median and p95 in newer builds only).
"""

import math
import re

from tflite_tools.devices.device import Round
from tflite_tools.devices.errors import DeviceOutputError

CLASSIC = "classic"
LITERT = "litert"
_NUMBER = r"(-?[0-9][0-9.]*(?:e[+-]?[0-9]+)?)"
_COUNT = re.compile(r"\bcount=(\d+)\b(.*)")
_FIELD = re.compile(rf"\b([a-z0-9]+)={_NUMBER}")
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}"
)
_INITIALIZED = re.compile(rf"Initialized session in {_NUMBER}ms")
_PEAKS = (
    re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: {_NUMBER}"),
    re.compile(rf"Peak memory: +{_NUMBER} MB"),
)
_V2_LINE = re.compile(
    rf"(Model initialization|Warmup \(first\)|Inference \((?:avg|min|max|std)\)): +{_NUMBER}"
    r"(?: ms)?(?: \((\d+) runs\))?"
)
_REPLACING = re.compile(
    r"Replacing (\d+) out of \d+ node\(s\) with delegate \(\S+\) node, yielding (\d+) partitions"
)
_COMPLETELY = re.compile(r"Explicitly applied (\S+) delegate, .*completely executed")
_PARTIALLY = re.compile(
    r"Explicitly applied (\S+) delegate, .*partially executed by the delegate w/ (\d+) delegate"
)
_NOT_EXECUTED = re.compile(r"Though (\S+) delegate is explicitly applied, .*not be executed")
_MICROSECONDS = 1e3  # per millisecond


def variant_of(help_text: str) -> str:
    """Which program printed this help: CLASSIC or LITERT (v2).

    Raises:
      DeviceOutputError: Neither.
    """
    flags = flags_of(help_text)
    if "use_npu" in flags or "use_cpu" in flags:
        return LITERT
    if "graph" in flags and flags & {"use_xnnpack", "use_nnapi", "enable_op_profiling"}:
        return CLASSIC
    raise DeviceOutputError(
        "The program given as benchmark_model does not look like one: its --help names the flags "
        f"{sorted(flags)[:8]}. Take LiteRT's benchmark_model, classic or v2 (docs/android.md)."
    )


def flags_of(help_text: str) -> set[str]:
    """Names of the flags in a help text."""
    return set(re.findall(r"--([a-z][a-z0-9_-]*)", help_text))


def parse(log: str, operators: int) -> Round:
    """Statistics in the output of either program.

    Args:
      log: All it printed.
      operators: Operators of the model, for a delegate that takes all of them.

    Raises:
      DeviceOutputError: Something that every finished run prints is missing.
    """
    counts = [_statistics(match) for match in _COUNT.finditer(log)]
    timings = _TIMINGS.search(log)
    results = {match[1]: match for match in _V2_LINE.finditer(log)}
    average = results.get("Inference (avg)")
    summed_up = average is not None and average[3] is not None  # not cut within the line
    if not summed_up and (timings is None or len(counts) < 2):
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        last = f"its last line is {lines[-1][:160]!r}" if lines else "it printed nothing"
        raise DeviceOutputError(
            f"The output of benchmark_model is incomplete: {last}. It was cut off or the program "
            "ended early; run it again, and see the log."
        )
    found = counts[-1] if len(counts) >= 2 else _from_results(results)
    if found["count"] < 1:
        raise DeviceOutputError("benchmark_model finished without a single measured inference.")
    partitions, delegated = _delegation(log, operators)
    return Round(
        count=int(found["count"]),
        mean_ms=found["avg"] / _MICROSECONDS,
        std_ms=found["std"] / _MICROSECONDS,
        min_ms=found["min"] / _MICROSECONDS,
        median_ms=_milliseconds(found.get("median")),
        p5_ms=_milliseconds(found.get("p5")),
        p95_ms=_milliseconds(found.get("p95")),
        init_ms=_init(log, timings, results),
        first_ms=_first(timings, results, counts),
        peak_memory_mb=_peak(log),
        partitions=partitions,
        delegated_operators=delegated,
        log=log,
    )


def _statistics(match: re.Match) -> dict[str, float]:
    """The fields of a line such as `count=50 first=9 curr=8 min=7 max=9 avg=8 std=0`."""
    fields = {name: float(value) for name, value in _FIELD.findall(match[2])}
    fields["count"] = float(match[1])
    if "avg" not in fields and "curr" in fields:  # one inference, or all equal
        fields |= {"avg": fields["curr"], "min": fields["curr"], "std": 0.0}
        fields.setdefault("first", fields["curr"])
    return {"avg": math.nan, "min": math.nan, "std": 0.0} | fields


def _from_results(results: dict[str, re.Match]) -> dict[str, float]:
    """The same fields from the lines of v2, which have two decimals of a millisecond."""
    average = results["Inference (avg)"]
    value = {name: float(match[2]) * _MICROSECONDS for name, match in results.items()}
    mean = value["Inference (avg)"]
    return {
        "count": float(average[3] or 0),
        "avg": mean,
        "std": value.get("Inference (std)", 0.0),
        "min": value.get("Inference (min)", mean),
    }


def _init(log, timings, results) -> float | None:
    if timings is not None:
        return float(timings[1]) / _MICROSECONDS
    initialized = _INITIALIZED.search(log)
    if initialized is not None:
        return float(initialized[1])
    line = results.get("Model initialization")
    return None if line is None else float(line[2])


def _first(timings, results, counts) -> float | None:
    if timings is not None:
        return float(timings[2]) / _MICROSECONDS
    if len(counts) >= 2 and "first" in counts[-2]:
        return counts[-2]["first"] / _MICROSECONDS
    line = results.get("Warmup (first)")
    return None if line is None else float(line[2])


def _peak(log: str) -> float | None:
    for pattern in _PEAKS:
        match = pattern.search(log)
        if match is not None:
            return float(match[1])
    return None


def _delegation(log: str, operators: int) -> tuple[int | None, int | None]:
    """(partitions, operators taken by the delegate), None where the log does not tell."""
    replaced = _REPLACING.findall(log)
    if replaced:
        return int(replaced[-1][1]), sum(int(row[0]) for row in replaced)
    if _COMPLETELY.search(log):
        return 1, operators
    partially = _PARTIALLY.search(log)
    if partially is not None:
        return int(partially[2]), None
    if _NOT_EXECUTED.search(log):
        return 0, 0
    return None, None


def _milliseconds(value: float | None) -> float | None:
    return None if value is None else value / _MICROSECONDS
