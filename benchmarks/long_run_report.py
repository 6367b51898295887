"""Tables and plots of the long run in docs/study.md, from benchmarks/results/long_run*.csv.

python benchmarks/long_run_report.py
"""

import numpy as np
from long_run import ALONE, FINETUNED, SUPERNET
from page_tables import fill
from study_plots import draw_long_run
from study_report import PAGE, PLOTS, rank_correlation, read

RESULTS = PAGE.parents[1] / "benchmarks" / "results"


class LongRunResults:
    """The rows of the long run.

    Attributes:
      nets: Rows of all kinds by net, then by kind.
      curve: Rows of the probes during the training.
      front: Uniform nets against nets of the search.
    """

    def __init__(self):
        self.nets: dict[str, dict[str, dict]] = {}
        for row in read(RESULTS / "long_run.csv"):
            self.nets.setdefault(row["net"], {})[row["kind"]] = row
        self.curve = read(RESULTS / "long_run_curve.csv")
        self.front = read(RESULTS / "long_run_front.csv")

    def of(self, prefix: str) -> dict[str, dict[str, dict]]:
        """Nets whose name starts so."""
        return {name: rows for name, rows in self.nets.items() if name.startswith(prefix)}

    def uniform(self) -> dict[str, dict[str, dict]]:
        """Nets with the same bits everywhere."""
        return {name: rows for name, rows in self.nets.items() if name.endswith("bits")}

    @property
    def has_pairs(self) -> bool:
        """Whether enough nets were trained alone for an order."""
        return len(self.pairs()[0]) > 2

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Accuracies of the nets that were trained alone: in the supernet, alone."""
        found = [rows for rows in self.nets.values() if ALONE in rows]
        return tuple(
            np.array([rows[kind]["accuracy"] for rows in found]) for kind in (SUPERNET, ALONE)
        )


def nets_table(results: LongRunResults) -> list[list[str]]:
    """Every net but the random ones, cheapest first."""
    head = ["net", "mflops_8bit", "bytes", "supernet, no retraining", "fine-tuned", "alone"]
    rows = [[*head, "alone - supernet", "float, alone", "TFLite 8 bits of it"]]
    chosen = results.uniform() | results.of("searched")
    for name, kinds in sorted(chosen.items(), key=lambda item: item[1][SUPERNET]["mflops_8bit"]):
        known = kinds[SUPERNET]
        rows.append(
            [
                name,
                f"{known['mflops_8bit']:.3f}",
                f"{known['file_bytes']:,}",
                *(accuracy(kinds.get(kind)) for kind in (SUPERNET, FINETUNED, ALONE)),
                difference(kinds.get(ALONE)),
                *(accuracy(kinds.get(kind)) for kind in ("float", "tflite_8")),
            ]
        )
    return rows


def ranks_table(results: LongRunResults) -> list[list[str]]:
    """What the order of nets in the supernet tells of their order alone."""
    supernet, alone = results.pairs()
    tau, low, high, p_value = rank_correlation(supernet, alone)
    gap = alone - supernet
    return [
        ["nets", "in the supernet", "alone", "alone - supernet", "Kendall tau"],
        [
            str(len(alone)),
            f"{supernet.mean():.2f}",
            f"{alone.mean():.2f}",
            f"{gap.mean():+.2f} [{gap.min():+.2f}, {gap.max():+.2f}]",
            f"{tau:.2f} [{low:.2f}, {high:.2f}], p = {p_value:.2g}",
        ],
    ]


def front_table(results: LongRunResults) -> list[list[str]]:
    """Each uniform net against the best net of the search that costs no more."""
    head = ["uniform net", "mflops_8bit", "%", "net of the search", "mflops_8bit", "%"]
    rows = [[*head, "difference"]]
    for row in results.front:
        rows.append(
            [
                row["uniform"],
                f"{row['mflops_8bit']:.3f}",
                f"{row['accuracy']:.2f}",
                row["searched"],
                f"{row['searched_mflops_8bit']:.3f}",
                f"{row['searched_accuracy']:.2f}",
                difference(row),
            ]
        )
    return rows


def curve_table(results: LongRunResults) -> list[list[str]]:
    """What the probes saw, on search-validation images."""
    probes = list(dict.fromkeys((row["subnet"], row["bits"]) for row in results.curve))
    rows = [["step", *(f"{size}, {bits} bits" for size, bits in probes)]]
    for step in dict.fromkeys(row["step"] for row in results.curve):
        seen = {
            (row["subnet"], row["bits"]): row["accuracy"]
            for row in results.curve
            if row["step"] == step
        }
        cells = (f"{100 * seen[probe]:.1f}" if probe in seen else "-" for probe in probes)
        rows.append([str(step), *cells])
    return rows


def accuracy(row: dict | None) -> str:
    """Such as "85.20 (84.5 to 85.9)"."""
    return "-" if row is None else f"{row['accuracy']:.2f} ({row['low']:.1f} to {row['high']:.1f})"


def difference(row: dict | None) -> str:
    """Such as "+0.40 (-0.1 to +0.9)", paired."""
    if row is None:
        return "-"
    low, high = row["difference_low"], row["difference_high"]
    return f"{row['difference']:+.2f} ({low:+.2f} to {high:+.2f})"


def main() -> None:
    """Writes the tables and the plots."""
    results = LongRunResults()
    tables = {
        "long_run": nets_table(results),
        "long_run_front": front_table(results),
        "long_run_curve": curve_table(results),
    }
    if results.has_pairs:
        tables["long_run_ranks"] = ranks_table(results)
    fill(PAGE, tables)
    PLOTS.mkdir(exist_ok=True)
    draw_long_run(results, PLOTS)
    print(f"Wrote {len(tables)} tables of {PAGE.name} and its plots.")


if __name__ == "__main__":
    main()
