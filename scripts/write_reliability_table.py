"""Writes the table of docs/reliability.md from benchmarks/results/reliability.csv.

    python scripts/write_reliability_table.py [--check]

With --check nothing is written; the status is 1 when the page is out of date.
"""

from page_part import PagePart, read_results, run

KILLS = ("train", "search", "table", "finetune")
TITLES = {
    "train": "kill -9 of trainings",
    "search": "kill -9 of searches",
    "table": "kill -9 of latency tables",
    "finetune": "kill -9 of fine-tunings",
    "flatbuffers": "mutated .tflite files",
    "genomes": "mutated genomes and texts",
    "limits": "runs whose files may not grow",
    "disk": "runs on a full disk",
    "clock": "runs with a clock that jumps",
    "twice": "pairs at once",
}


def table() -> str:
    """The table, as Markdown."""
    rows = {row["task"]: row for row in read_results("reliability")}
    if not rows:
        return "Nothing was measured yet."
    lines = ["| what | tried | right | failed | | measured |", "|---|---|---|---|---|---|"]
    for task, title in TITLES.items():
        if task not in rows:
            continue
        row = rows[task]
        right = f"{int(row['same']):,}"
        if task in KILLS:
            right = f"{row['same']} of {row['runs']} finished runs the same"
        lines.append(
            f"| {title} | {int(row['tried']):,} | {right} | {row['failed']} | {row['note']} | "
            f"{row['date']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(PagePart("docs/reliability.md", "reliability"), table(), __doc__)
