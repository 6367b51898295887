"""Tables and plots of docs/study.md from the CSV files in benchmarks/results/study.

    python benchmarks/study_report.py

Replaces what stands between `<!-- NAME -->` and `<!-- end -->` in docs/study.md by the table NAME,
and draws docs/study/*.png. Figures are accuracies in percent; "mean [lowest, highest]" is over
seeds, of the mean over the fixed subnets.
"""

import csv
import pathlib

import numpy as np
from page_tables import fill
from scipy.stats import kendalltau
from study_plots import draw_all

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "study"
PAGE = ROOT / "docs" / "study.md"
PLOTS = ROOT / "docs" / "study"
LEVELS = (0.04, 0.05, 0.07, 0.1, 0.15, 0.2)
"""Budgets of mflops_8bit at which the searches are compared."""
QUANTIZERS = {"qfa": "BatchQuant", "lsq": "LSQ", "lsq_plus": "LSQ+", "pact": "PACT"}
ESTIMATORS = {"qfa": "channel mean", "sample_mean": "sample mean", "min_max": "min/max"}
ZERO_POINTS = {"qfa": "integer", "fractional": "fractional"}
OQA = {2: "oqa_w2", 3: "oqa_w3", 4: "oqa_w4"}
PHASES = {
    "oqa_w4": "4 bits, from float",
    "oqa_w3": "3 bits, inherited from 4",
    "direct_w3": "3 bits, from float",
    "long_w3": "3 bits, from float, as long as 4 and 3",
    "oqa_w2": "2 bits, inherited from 3",
    "direct_w2": "2 bits, from float",
    "long_w2": "2 bits, from float, as long as 4, 3 and 2",
}


class Results:
    """The rows of the study.

    Attributes:
      subnets: Rows of subnets.csv, numbers as numbers.
      runs: Rows of runs.csv.
      search: Rows of search.csv.
    """

    def __init__(self, folder: pathlib.Path = RESULTS):
        self.subnets, self.runs, self.search = (
            read(folder / f"{name}.csv") for name in ("subnets", "runs", "search")
        )

    def seeds(self, run: str) -> list[int]:
        """Seeds of a run that were measured."""
        return sorted({row["seed"] for row in self.subnets if row["run"] == run})

    def accuracies(self, run: str, seed: int, bits: str = "", moment: str = "end") -> np.ndarray:
        """Accuracy of each fixed subnet, in their order."""
        rows = [
            row
            for row in self.subnets
            if (row["run"], row["seed"], row["moment"]) == (run, seed, moment)
            and (not bits or str(row["bits"]) == bits)
        ]
        return np.array([row["accuracy"] for row in sorted(rows, key=lambda row: row["subnet"])])

    def means(self, run: str, bits: str = "", moment: str = "end") -> dict[int, float]:
        """Mean accuracy over the subnets, by seed."""
        return {s: self.accuracies(run, s, bits, moment).mean() for s in self.seeds(run)}

    def best(self, runs: tuple[str, ...], seed: int, level: float) -> float:
        """Best accuracy that searches found within a budget; NaN when nothing is so small."""
        found = [
            row["accuracy"]
            for row in self.search
            if row["run"] in runs and row["seed"] == seed and row["mflops_8bit"] <= level
        ]
        return max(found, default=np.nan)


def read(path: pathlib.Path) -> list[dict]:
    """Rows of a CSV file, numbers as numbers."""

    def number(text):
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                pass
        return text

    with open(path, newline="", encoding="utf-8") as file:
        return [{key: number(text) for key, text in row.items()} for row in csv.DictReader(file)]


def comparison_table(results: Results, names: dict[str, str]) -> list[list[str]]:
    """Variants of the mixed supernet side by side."""
    rows = [
        [
            *("", "mean accuracy", "against the first", "spread of subnets"),
            *("worst subnet", "seeds", "diverged"),
        ]
    ]
    first = None
    for run, label in names.items():
        diverged = [row["outcome"] == "diverged" for row in results.runs if row["run"] == run]
        subnets = [results.accuracies(run, seed, "mixed") for seed in results.seeds(run)]
        means = results.means(run, "mixed")
        first = means if first is None else first
        rows.append(
            [
                label,
                spread(means),
                "" if first is means else gain(first, means),
                f"{np.mean([values.std() for values in subnets]):.2f}" if subnets else "-",
                f"{min(values.min() for values in subnets):.2f}" if subnets else "-",
                str(len(subnets)),
                f"{sum(diverged)} of {len(diverged)}",
            ]
        )
    return rows


def inheritance_table(results: Results) -> list[list[str]]:
    """Phases of OQA before their first step and after the last."""
    rows = [["phase", "steps", "before the first step", "at the end", "seeds"]]
    for run, label in PHASES.items():
        steps = next(row["steps"] for row in results.runs if row["run"] == run)
        start, end = (results.means(run, moment=moment) for moment in ("start", "end"))
        rows.append([label, str(steps), spread(start), spread(end), str(len(end))])
    return rows


def uniform_table(results: Results) -> list[list[str]]:
    """The same subnets in QFA's and in OQA's supernet: equal cost, as bits are equal."""
    rows = [["bits", "mean mflops_8bit", "QFA", "OQA", "OQA - QFA, same subnet and seed"]]
    for bits, run in OQA.items():
        costs = [row["mflops_8bit"] for row in results.subnets if row["run"] == run]
        qfa, oqa = results.means("qfa", str(bits)), results.means(run)
        cost = f"{np.mean(costs):.3f}"
        rows.append([str(bits), cost, spread(qfa), spread(oqa), gain(qfa, oqa)])
    return rows


def search_table(results: Results) -> list[list[str]]:
    """What equally many evaluations found within budgets."""
    rows = [["mflops_8bit at most", "QFA, mixed bits", "OQA, uniform bits", "OQA - QFA"]]
    for level in LEVELS:
        qfa, oqa = (
            {seed: results.best(runs, seed, level) for seed in results.seeds(runs[0])}
            for runs in (("qfa",), tuple(OQA.values()))
        )
        rows.append([f"{level:g}", spread(qfa), spread(oqa), gain(qfa, oqa)])
    return rows


def alone_table(results: Results) -> list[list[str]]:
    """Subnets out of the supernet against the same subnets trained alone."""
    supernet, alone = paired_alone(results)
    tau, low, high, p_value = rank_correlation(supernet, alone)
    return [
        ["subnets", "in the supernet", "alone, from scratch", "alone - supernet", "Kendall tau"],
        [
            str(len(alone)),
            f"{supernet.mean():.2f}",
            f"{alone.mean():.2f}",
            f"{(alone - supernet).mean():+.2f} "
            f"[{(alone - supernet).min():+.2f}, {(alone - supernet).max():+.2f}]",
            f"{tau:.2f} [{low:.2f}, {high:.2f}], p = {p_value:.2g}",
        ],
    ]


def paired_alone(results: Results) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies of the subnets that were trained alone: in the supernet of their seed, alone."""
    rows = [row for row in results.subnets if row["run"] == "alone"]
    supernet = [results.accuracies("qfa", row["seed"], "mixed")[row["subnet"]] for row in rows]
    return np.array(supernet), np.array([row["accuracy"] for row in rows])


def rank_correlation(
    x: np.ndarray, y: np.ndarray, level: float = 0.9
) -> tuple[float, float, float, float]:
    """Kendall tau, its bootstrap interval over architectures at a level, and the p-value."""
    tau, p_value = kendalltau(x, y)
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(x), size=len(x)) for _ in range(2000)]
    taus = np.array([kendalltau(x[draw], y[draw])[0] for draw in draws])
    low, high = np.nanquantile(taus, ((1 - level) / 2, (1 + level) / 2))
    return float(tau), float(low), float(high), float(p_value)


def time_table(results: Results) -> list[list[str]]:
    """Wall time of the training of one run."""
    rows = [["run", "runs", "steps", "minutes each"]]
    for run in dict.fromkeys(row["run"] for row in results.runs):
        own = [row for row in results.runs if row["run"] == run]
        minutes = dict(enumerate(row["training_seconds"] / 60 for row in own))
        rows.append([f"`{run}`", str(len(own)), str(own[0]["steps"]), spread(minutes, ".1f")])
    return rows


def spread(values: dict[int, float], form: str = ".2f") -> str:
    """Mean [lowest, highest]."""
    found = np.array(list(values.values()))
    if not len(found) or not np.isfinite(found).all():
        return "-"
    return f"{found.mean():{form}} [{found.min():{form}}, {found.max():{form}}]"


def gain(before: dict[int, float], after: dict[int, float]) -> str:
    """`spread` of the differences of the seeds that both have."""
    common = [seed for seed in before if seed in after]
    return spread({seed: after[seed] - before[seed] for seed in common}, "+.2f")


def tables(results: Results) -> dict[str, list[list[str]]]:
    """All tables by name."""
    return {
        "quantizers": comparison_table(results, QUANTIZERS),
        "inheritance": inheritance_table(results),
        "uniform": uniform_table(results),
        "search": search_table(results),
        "alone": alone_table(results),
        "zero_points": comparison_table(results, ZERO_POINTS),
        "estimators": comparison_table(results, ESTIMATORS),
        "times": time_table(results),
    }


def main() -> None:
    """Writes the tables and the plots."""
    results = Results()
    fill(PAGE, tables(results))
    PLOTS.mkdir(exist_ok=True)
    draw_all(results, PLOTS)
    print(f"Wrote the tables of {PAGE.name} and {len(list(PLOTS.glob('*.png')))} plots.")


if __name__ == "__main__":
    main()
