"""Writes the tables of docs/runtimes.md from the tracked reports in results/runtimes.

A report is what `python apps/benchmark.py --workdir=WORKDIR --runtimes=all` leaves in
WORKDIR/benchmarks/MODEL/runtimes.json; copy it to benchmarks/results/runtimes/NAME.json and run

    python benchmarks/runtimes.py
"""

import json
import pathlib

from tflite_tools.runtimes.comparison import table_row

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "runtimes"
PAGE = ROOT / "docs" / "runtimes.md"
BEGIN, END = "<!-- tables: python benchmarks/runtimes.py -->", "<!-- end of tables -->"


def tables() -> str:
    """The tables of all reports, as Markdown."""
    parts = []
    for path in sorted(RESULTS.glob("*.json")):
        report = json.loads(path.read_text("utf-8"))
        rows = [table_row(row, report["images"]) for row in report["runtimes"]]
        titles = list(rows[0])
        lines = [f"**{path.stem}**, {report['images']} test images", ""]
        lines += [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
        lines += [f"| {' | '.join(row[title] for title in titles)} |" for row in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def with_tables(page: str) -> str:
    """The page with the tables of now between its marks."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
