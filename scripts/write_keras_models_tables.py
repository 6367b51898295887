"""Writes the tables of docs/keras_models.md from benchmarks/results.

    python scripts/write_keras_models_tables.py [--check]

With --check nothing is written; the status is 1 when the page is out of date.
"""

import argparse
from collections.abc import Iterable

from page_part import PagePart, read_results

PAGE = "docs/keras_models.md"
NONE = "-"


def pretrained() -> str:
    """EfficientNet-Lite0 without training."""
    head = ["", "bytes", "other crops", "equal answers (%)", "signal to noise (dB)"]
    head += ["latency (ms)", "integers that differ", "answers equal to Keras' (%)"]
    rows = [
        [
            row["name"],
            grouped(row["bytes"]),
            row["images"],
            row["equal_answers"],
            row["sqnr_db"],
            row["latency_ms"] or NONE,
            grouped(row["mismatches"]),
            row["keras_answers"] or NONE,
        ]
        for row in read_results("pretrained")
    ]
    return table(head, rows)


def distillation() -> str:
    """EfficientNet-Lite0, trained without labels."""
    head = ["", "steps", "bytes", "equal answers before (%)", "after", "dB before", "after"]
    names = ("equal_answers_before", "equal_answers_after", "sqnr_db_before", "sqnr_db_after")
    rows = [
        [row["name"], row["steps"], grouped(row["bytes"]), *(row[name] for name in names)]
        for row in read_results("distillation")
    ]
    return table(head, rows)


def small() -> str:
    """Classifiers of digits and Fashion-MNIST."""
    head = ["", "test images", "float (%)", "in LiteRT (%)", "equal answers (%)", "differing"]
    rows = [
        [
            row["name"],
            grouped(row["test_images"]),
            row["float_accuracy"],
            row["accuracy"],
            row["equal_answers"],
            grouped(row["mismatches"]),
        ]
        for row in read_results("small_classifiers")
    ]
    return table(head, rows)


def equalization() -> str:
    """Channels of equal ranges."""
    head = ["", "pixels", "other crops", "equal answers (%)", "signal to noise (dB)"]
    names = ("row", "pixels", "images", "equal_answers", "sqnr_db")
    return table(head, [[row[name] for name in names] for row in read_results("equalization")])


def families() -> str:
    """tf_keras.applications."""
    head = ["family", "bits", "pixels", "operators", "layers in float", "XNNPACK partitions"]
    rows = [
        [
            row["family"],
            f"{row['weight_bits']}/{row['activation_bits']}",
            *(row[name] for name in ("pixels", "operators", "float_layers", "partitions")),
            grouped(row["elements"]),
            row["mismatches"],
        ]
        for row in read_results("keras_families")
    ]
    return table([*head, "integers compared", "differing"], rows)


def keras3() -> str:
    """Models of Keras 3."""
    head = ["model", "operators", "XNNPACK partitions", "integers compared", "differing"]
    rows = [
        [
            row["model"],
            row["operators"],
            row["partitions"],
            grouped(row["elements"]),
            row["mismatches"],
        ]
        for row in sorted(read_results("keras3_models"), key=lambda row: row["model"])
    ]
    return table(head, rows)


PARTS = {
    part.__name__: part
    for part in (pretrained, distillation, small, equalization, families, keras3)
}


def grouped(text: str) -> str:
    """Whole numbers with commas, also in "0 of 1000"; a dash for nothing."""
    words = (f"{int(word):,}" if word.isdigit() else word for word in text.split())
    return " ".join(words) or NONE


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """In Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Writes all parts, or checks them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    for name, content in PARTS.items():
        PagePart(PAGE, name).write(content(), check=check)


if __name__ == "__main__":
    main()
