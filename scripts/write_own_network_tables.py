"""Writes the tables of docs/own_network.md from benchmarks/results.

    python scripts/write_own_network_tables.py [--check]

With --check nothing is written; the status is 1 when the page is out of date.
"""

import re

from page_part import RESULTS, PagePart, read_results, run

DESCRIBED = ("MobileNetV2", "DenseNet121")
ROWS, WIDTH = 4, 140
TITLES = {
    "float": "float",
    "tflite_8": "TFLite, 8 bits",
    "compressed": "`qfa_tf.compress`",
    "uniform_4": "QAT, 4 bits everywhere",
    "uniform_3": "QAT, 3 bits everywhere",
    "uniform_2": "QAT, 2 bits everywhere",
    "mobilenet_v3": "MobileNetV3 from random weights",
}


def families() -> str:
    """What the networks of tf_keras.applications keep of the contract."""
    lines = [
        "| network | pixels | sites | blocks | genes | float difference | own rounding | traces | "
        "values compared | mismatches | wrong costs | lost in JSON | measured |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in read_results("own_families"):
        cells = (
            row["family"],
            row["pixels"],
            row["sites"],
            row["blocks"],
            row["genes"],
            row["float_difference"],
            row["own_rounding"],
            row["traces"],
            f"{int(row['values']):,}",
            row["mismatches"],
            row["wrong_costs"],
            row["json_differences"],
            row["date"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def experiment() -> str:
    """The ResNet-20 on Fashion-MNIST."""
    found = {row["network"]: row for row in read_results("own_network")}
    if not found:
        return "Nothing was measured yet."
    lines = [
        "| network | steps | test accuracy (%) | 95 % interval | bytes of weights at their bits | "
        "bytes of the file | mismatches | processor minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, title in TITLES.items():
        if name not in found:
            continue
        row = found[name]
        interval = f"{row['low']} to {row['high']}"
        file_bytes = f"{int(row['file_bytes']):,}" if row["file_bytes"] else ""
        cells = (
            title,
            row["steps"] if row["steps"] != "0" else "",
            row["test_accuracy"],
            interval,
            f"{int(row['weight_bytes']):,}",
            file_bytes,
            row["mismatches"],
            row["processor_minutes"] if row["processor_minutes"] != "0.0" else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def pretrained() -> str:
    """EfficientNet-Lite0 before and after a distillation."""
    rows = read_results("own_pretrained")
    if not rows:
        return "Nothing was measured yet."
    lines = [
        "| subnet | steps | bytes of the file | equal answers (%) | 95 % interval | images | "
        "signal to noise (dB) | mismatches | values compared | measured |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (
            row["network"],
            row["steps"],
            f"{int(row['file_bytes']):,}",
            row["equal_answers"],
            f"{row['low']} to {row['high']}",
            row["images"],
            row["sqnr_db"],
            row["mismatches"],
            f"{int(row['values']):,}",
            row["date"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def step() -> str:
    """Seconds of a step beside the family of the same sizes."""
    lines = [
        "| pixels | batch | steps | processor s, read | processor s, family | ratio | "
        "wall s, read | wall s, family | ratio | start s, read | start s, family | measured |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    columns = ["pixels", "batch", "rounds"]
    columns += [
        f"{kind}_{of}" for kind in ("processor", "wall") for of in ("read", "family", "ratio")
    ]
    columns += ["start_read", "start_family", "date"]
    for row in read_results("own_network_step"):
        lines.append(f"| {' | '.join(row[column] for column in columns)} |")
    return "\n".join(lines)


def described() -> str:
    """The beginning of each part of what `space.describe()` says of two networks."""
    blocks = []
    for name in DESCRIBED:
        lines: list[str] = []
        rows: list[str] = []
        path = RESULTS / "own_families" / f"{name}.txt"
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(" "):
                rows.append(line)
                continue
            lines += _beginning(rows)
            rows.clear()
            lines.append(line)
        blocks.append("\n".join(["```text", *lines, *_beginning(rows), "```"]))
    return "\n\n".join(blocks)


def _beginning(rows: list[str]) -> list[str]:
    """The first rows; of the following ones those of a reason that has not been seen."""
    kept, reasons = [], set()
    for place, row in enumerate(rows):
        reason = re.sub(r"'[^']*'", "", row.partition("fixed: ")[2])
        if place < ROWS or (reason and reason not in reasons):
            kept.append(row if len(row) <= WIDTH else f"{row[: WIDTH - 4]} ...")
        reasons.add(reason)
    left = len(rows) - len(kept)
    return kept + [f"  ... and {left} more"] * bool(left)


if __name__ == "__main__":
    parts = {
        "described": described,
        "families": families,
        "step": step,
        "experiment": experiment,
        "pretrained": pretrained,
    }
    for name, part in parts.items():
        run(PagePart("docs/own_network.md", name), part(), __doc__)
