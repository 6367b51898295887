"""Tables and plots of the long run in docs/study.md, from benchmarks/results/long_run*.csv.

python benchmarks/long_run_report.py
"""

import argparse
import itertools

import numpy as np
from long_run import ALONE, FINETUNED, SUPERNET
from page_tables import fill
from study_plots import draw_long_run
from study_report import PAGE, PLOTS, rank_correlation, read

RESULTS = PAGE.parents[1] / "benchmarks" / "results"
SEARCHED = "searched"
ALL = "all"
LEVEL = 0.95
"""Of the interval of the rank correlation."""


class LongRunResults:
    """The rows of the supernet of one number of steps.

    Attributes:
      steps: Of the supernet.
      nets: Rows of all kinds by net, then by kind.
      curve: Rows of the probes during the training.
      front: Uniform nets against nets of the search.
    """

    def __init__(self, steps: int):
        def own(name):
            return [row for row in read(RESULTS / f"{name}.csv") if row["supernet_steps"] == steps]

        self.steps = steps
        self.nets: dict[str, dict[str, dict]] = {}
        for row in own("long_run"):
            self.nets.setdefault(row["net"], {})[row["kind"]] = row
        self.curve = own("long_run_curve")
        self.front = own("long_run_front")

    def of(self, prefix: str) -> dict[str, dict[str, dict]]:
        """Nets whose name starts so."""
        return {name: rows for name, rows in self.nets.items() if name.startswith(prefix)}

    def uniform(self) -> dict[str, dict[str, dict]]:
        """Nets with the same bits everywhere."""
        return {name: rows for name, rows in self.nets.items() if name.endswith("bits")}

    def fixed(self) -> dict[str, dict[str, dict]]:
        """Nets that are the same in every run: all but those that a search found in it."""
        found = self.of(SEARCHED)
        return {name: rows for name, rows in self.nets.items() if name not in found}

    def pairs(self, alone: "LongRunResults", group: str = ALL) -> tuple[np.ndarray, np.ndarray]:
        """Accuracies of nets: in this supernet, and trained alone.

        Args:
          alone: The run whose nets were trained alone.
          group: See `GROUPS`.
        """
        names = [name for name in GROUPS[group](self) if ALONE in alone.nets.get(name, {})]
        return (
            np.array([self.nets[name][SUPERNET]["accuracy"] for name in names]),
            np.array([alone.nets[name][ALONE]["accuracy"] for name in names]),
        )


GROUPS = {
    ALL: lambda run: run.nets,
    "none of the search": lambda run: run.fixed(),
    "uniform bits": lambda run: run.uniform(),
    "random": lambda run: run.of("random"),
}
"""Nets that are put in order; a search finds other nets in each supernet."""


def all_runs() -> list[LongRunResults]:
    """The runs, that of the fewest steps first."""
    rows = read(RESULTS / "long_run.csv")
    return [LongRunResults(steps) for steps in sorted({row["supernet_steps"] for row in rows})]


def nets_table(results: LongRunResults) -> list[list[str]]:
    """Every net of a run but the random ones, cheapest first."""
    kinds = {SUPERNET: "supernet, no retraining", FINETUNED: "fine-tuned", ALONE: "alone"}
    kinds |= {"float": "float, alone", "tflite_8": "TFLite 8 bits of it"}
    chosen = results.uniform() | results.of(SEARCHED)
    kinds = {
        kind: title for kind, title in kinds.items() if any(kind in net for net in chosen.values())
    }
    rows = [["net", "mflops_8bit", "bytes", *kinds.values()]]
    if ALONE in kinds:
        rows[0].append("alone - supernet")
    for name, found in sorted(chosen.items(), key=lambda item: item[1][SUPERNET]["mflops_8bit"]):
        known = found[SUPERNET]
        row = [name, f"{known['mflops_8bit']:.3f}", f"{known['file_bytes']:,}"]
        row += [accuracy(found.get(kind)) for kind in kinds]
        if ALONE in kinds:
            row.append(difference(found.get(ALONE)))
        rows.append(row)
    return rows


def steps_table(runs: list[LongRunResults]) -> list[list[str]]:
    """The nets that all runs have, in their supernets and alone."""
    head = ["net", *(f"supernet, {run.steps:,} steps" for run in runs)]
    alone = [run for run in runs if any(ALONE in rows for rows in run.fixed().values())]
    rows = [[*head, *(f"alone, {run.steps:,} steps" for run in alone)]]
    columns = [(run, SUPERNET) for run in runs] + [(run, ALONE) for run in alone]
    for name in runs[0].fixed():
        found = [run.nets.get(name, {}).get(kind) for run, kind in columns]
        rows.append([name, *("-" if row is None else f"{row['accuracy']:.2f}" for row in found)])
    return rows


def ranks_table(runs: list[LongRunResults]) -> list[list[str]]:
    """What the order of nets in a supernet tells of their order alone."""
    head = ["supernet", "alone", "nets", "in the supernet", "alone", "alone - supernet"]
    rows = [[*head, "Kendall tau"]]
    for run, other, group in itertools.product(runs, runs, GROUPS):
        if group == ALL and run is not other:
            continue
        supernet, alone = run.pairs(other, group)
        if len(alone) < 3:
            continue
        tau, low, high, p_value = rank_correlation(supernet, alone, LEVEL)
        gap = alone - supernet
        rows.append(
            [
                f"{run.steps:,} steps",
                f"{other.steps:,} steps",
                f"{len(alone)}, {group}",
                f"{supernet.mean():.2f}",
                f"{alone.mean():.2f}",
                f"{gap.mean():+.2f} [{gap.min():+.2f}, {gap.max():+.2f}]",
                f"{tau:.2f} [{low:.2f}, {high:.2f}], p = {p_value:.2g}",
            ]
        )
    return rows


def front_table(results: LongRunResults) -> list[list[str]]:
    """Each uniform net against the best net of the search that costs no more."""
    head = ["uniform net", "mflops_8bit", "%", "net of the search", "mflops_8bit", "%"]
    rows = [[*head, "difference"]]
    for row in sorted(results.front, key=lambda row: row["mflops_8bit"]):
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


def curve_table(runs: list[LongRunResults]) -> list[list[str]]:
    """What the probes saw, on search-validation images."""
    curves = [row for run in runs for row in run.curve]
    probes = list(dict.fromkeys((row["subnet"], row["bits"]) for row in curves))
    rows = [["steps", "step", *(f"{size}, {bits} bits" for size, bits in probes)]]
    for run in runs:
        for step in dict.fromkeys(row["step"] for row in run.curve):
            seen = {
                (row["subnet"], row["bits"]): row["accuracy"]
                for row in run.curve
                if row["step"] == step
            }
            cells = (f"{100 * seen[probe]:.1f}" if probe in seen else "-" for probe in probes)
            rows.append([f"{run.steps:,}", f"{step:,}", *cells])
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


def tables(runs: list[LongRunResults]) -> dict[str, list[list[str]]]:
    """All tables of the page by name."""
    found = {
        "long_run_steps": steps_table(runs),
        "long_run_ranks": ranks_table(runs),
        "long_run_curve": curve_table(runs),
    }
    for run in runs:
        found[f"long_run_{run.steps}"] = nets_table(run)
        if run.front:
            found[f"long_run_front_{run.steps}"] = front_table(run)
    return found


def main() -> None:
    """Writes the tables and the plots."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    runs = all_runs()
    fill(PAGE, tables(runs))
    PLOTS.mkdir(exist_ok=True)
    draw_long_run(runs, PLOTS)
    print(f"Wrote the tables of the long run in {PAGE.name} and its plots.")


if __name__ == "__main__":
    main()
