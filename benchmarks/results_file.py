"""The tracked CSV files that benchmarks write."""

import csv
import datetime
import io
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from quantize_configs.files import write_text
from tflite_tools.benchmarking.measurement import host_processor

RESULTS = pathlib.Path(__file__).parent / "results"


def append(name: str, row: dict[str, Any]) -> None:
    """Adds a row, with date and machine, to `results/<name>.csv`."""
    row = {"date": None, **dated(row)}  # the date stands first in these files
    path = RESULTS / f"{name}.csv"
    is_new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row.keys(), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Replaces `results/<name>.csv` by these rows, at least one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(RESULTS / f"{name}.csv", text.getvalue())


def replace(name: str, key: str | Sequence[str], *rows: dict[str, Any]) -> None:
    """Puts rows, with date and machine, in the places of those with the same `row[key]`.

    Args:
      name: Of the file, see `append`.
      key: A column, or several that name a row together.
      *rows: Their columns.
    """
    path = RESULTS / f"{name}.csv"
    columns = [key] if isinstance(key, str) else key
    known: list[dict[str, Any]] = []
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            known = list(csv.DictReader(file))

    def named(row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(str(row[column]) for column in columns)

    taken = {named(row) for row in rows}
    kept = [row for row in known if named(row) not in taken]
    write(name, [*kept, *(dated(row) for row in rows)])


def dated(row: dict[str, Any]) -> dict[str, Any]:
    """A row with date and machine behind it."""
    return {
        **row,
        "date": datetime.date.today().isoformat(),
        "cpu": host_processor(),
        "cores": os.cpu_count(),
    }
