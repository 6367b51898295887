"""The front of a search with what was predicted of its latency and what a device measured."""

import csv
import io
import pathlib
from collections.abc import Sequence

import rich.console
import rich.table

from qfa_tf.runs.benchmarking.files import folder_of
from qfa_tf.runs.exporting.records import ModelRecord
from qfa_tf.runs.messages import say
from qfa_tf.runs.searching.folder import OF_THE_WORKDIR, SearchFolder
from qfa_tf.runs.workdir import Workdir
from quantize_configs.files import write_text

LATENCY = "latency_ms@"


def write_front_latency(
    workdir: Workdir,
    folder: SearchFolder,
    records: Sequence[ModelRecord],
    key: str,
    console: rich.console.Console,
) -> pathlib.Path:
    """Prints a row per exported subnet of the front and writes them as CSV; returns its path.

    Args:
      workdir: Of a run.
      folder: Of a finished search in it.
      records: Of exported models, with the benchmark.
      key: Which benchmark, for example "host-1".
      console: Where to print.

    Raises:
      ResultError: `pareto.json` is damaged.
      FileWriteError: The file cannot be written.
    """
    result = folder.result()
    by_architecture = {record.architecture: record for record in records}
    tables = sorted(name for name in result.front[0].costs if name.startswith(LATENCY))
    columns = ["model", "accuracy", *tables, f"measured_ms {key}"]
    columns += [f"error {name.removeprefix(LATENCY)}" for name in tables]
    rows = []
    for candidate in result.front:
        record = by_architecture.get(result.architecture(candidate))
        if record is None or key not in record.benchmarks:
            continue
        measured = record.benchmarks[key]["median_ms"]
        predicted = [candidate.costs[name] for name in tables]
        errors = [f"{100 * (value / measured - 1):+.1f} %" for value in predicted]
        rows.append(
            [
                record.name,
                f"{100 * candidate.accuracy:.2f} %",
                *(f"{value:.4f}" for value in predicted),
                f"{measured:.4f}",
                *errors,
            ]
        )
    shown = rich.table.Table(
        title=f"Front of the search {folder.name!r}, accuracy on {result.split}"
    )
    for column in columns:
        shown.add_column(column)
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    name = "" if folder.name == OF_THE_WORKDIR else f"{folder.name}-"
    path = folder_of(workdir) / f"front-{name}{key.replace(':', '_')}.csv"
    write_text(path, text.getvalue())
    say(console, f"Wrote {path}")
    return path
