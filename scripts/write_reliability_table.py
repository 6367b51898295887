"""Writes the table of docs/reliability.md from benchmarks/results/reliability.csv.

    python scripts/write_reliability_table.py [--check]

With --check nothing is written; the status is 1 when the page is out of date.
"""

import argparse
import csv
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
ROWS = ROOT / "benchmarks" / "results" / "reliability.csv"
BEGIN = "<!-- reliability begin: written by scripts/write_reliability_table.py -->"
END = "<!-- reliability end -->"
TITLES = {
    "train": "kill -9 of trainings",
    "search": "kill -9 of searches",
    "table": "kill -9 of latency tables",
    "finetune": "kill -9 of fine-tunings",
    "flatbuffers": "mutated .tflite files",
    "genomes": "mutated genomes and texts",
    "disk": "runs on a full disk",
    "clock": "runs with a clock that jumps",
    "twice": "pairs at once",
}


def table() -> str:
    """The table, as Markdown."""
    if not ROWS.is_file():
        return "Nothing was measured yet."
    with open(ROWS, newline="", encoding="utf-8") as file:
        rows = {row["task"]: row for row in csv.DictReader(file)}
    lines = ["| what | tried | right | failed | | measured |", "|---|---|---|---|---|---|"]
    for task, title in TITLES.items():
        if task not in rows:
            continue
        row = rows[task]
        right = f"{int(row['same']):,}"
        if task in ("train", "search", "table", "finetune"):
            right = f"{row['same']} of {row['runs']} finished runs the same"
        lines.append(
            f"| {title} | {int(row['tried']):,} | {right} | {row['failed']} | {row['note']} | "
            f"{row['date']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Writes, or checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    wanted = f"{head}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"
    if check:
        sys.exit(f"{PAGE} is out of date: python {sys.argv[0]}" if wanted != text else 0)
    PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
