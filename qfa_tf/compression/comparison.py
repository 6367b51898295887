"""The report of a compression: the float model, TFLite's integers and the exported network."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from qfa_tf.search.intervals import with_interval
from quantize_configs.files import write_text

if TYPE_CHECKING:
    from qfa_tf.compression.baselines import Baseline

ROUNDS, RUNS, SECONDS = 5, 50, 1.0
"""Turns, least inferences and least seconds of each file's latency."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
      name: Of the network.
      accuracy: Share of the test images.
      file_bytes: Of its .tflite file; None where there is none.
      latency_ms: Of one image on this machine, one thread, median; None where there is no file.
    """

    name: str
    accuracy: float
    file_bytes: int | None = None
    latency_ms: float | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compress` reports.

    Attributes:
      file_sha256: Digest of the exported file.
      images: Test images.
      rows: The networks; the exported one is the last.
    """

    file_sha256: str
    images: int
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        """That of a network.

        Raises:
          KeyError: There is none.
        """
        return {row.name: row for row in self.rows}[name]

    def __str__(self) -> str:
        lines = [
            "| network | accuracy (95 % interval) | file (bytes) | latency (ms) |",
            "|---|---|---|---|",
        ]
        for row in self.rows:
            size = "" if row.file_bytes is None else f"{row.file_bytes:,}"
            latency = "" if row.latency_ms is None else f"{row.latency_ms:.3g}"
            accuracy = with_interval(row.accuracy, self.images)
            lines.append(f"| {row.name} | {accuracy} | {size} | {latency} |")
        return "\n".join(lines)

    def write(self, path: pathlib.Path) -> None:
        """Writes it as JSON, and beside that as a table in Markdown.

        Raises:
          FileWriteError: A file cannot be written.
        """
        write_text(path.with_suffix(".md"), f"{self}\n")
        write_text(path, json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read_comparison(path: pathlib.Path, file_sha256: str) -> Comparison | None:
    """What `Comparison.write` wrote of a file; None where it wrote of another one, or not yet."""
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row(**row) for row in fields.pop("rows"))
        found = Comparison(**fields, rows=rows)
    except (ValueError, KeyError, TypeError):
        return None  # it is made again
    return found if found.file_sha256 == file_sha256 else None


def rows_of(
    baselines: Mapping[str, "Baseline"], own: tuple[str, float, bytes], untuned: float | None
) -> tuple[Row, ...]:
    """Rows with latencies that are measured in turns.

    Args:
      baselines: By name.
      own: (name, accuracy, bytes of the file) of the exported network.
      untuned: Accuracy of the same subnet before it was trained alone; None leaves it out.
    """
    from tflite_tools.benchmarking.measurement import benchmark_all, open_device
    from tflite_tools.benchmarking.options import BenchmarkOptions

    name, accuracy, flatbuffer = own
    files = {key: one.flatbuffer for key, one in baselines.items() if one.flatbuffer is not None}
    files[name] = flatbuffer
    options = BenchmarkOptions(num_runs=RUNS, min_seconds=SECONDS, rounds=ROUNDS)
    with open_device("host") as device:
        reports = benchmark_all(files, device, options, measure_memory=False)

    def row(key: str, share: float) -> Row:
        if key not in files:
            return Row(key, share)
        return Row(key, share, len(files[key]), reports[key].median_ms)

    rows = [row(key, one.accuracy) for key, one in baselines.items()]
    rows += [] if untuned is None else [Row("without tuning", untuned)]
    return (*rows, row(name, accuracy))
