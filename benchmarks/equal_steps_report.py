"""Tables of docs/study.md from benchmarks/results/equal_steps.csv.

python benchmarks/equal_steps_report.py
"""

import argparse
import statistics

import results_file
from equal_steps import OFFICIAL
from page_tables import fill
from study_report import PAGE, read
from training_variants import VARIANTS

BASE, EARLIER, LARGE = "base", "earlier_defaults", 64
NAMES = {BASE: "this library", EARLIER: "before the starts below"}


def official_table(rows: list[dict]) -> list[list[str]]:
    """The release, this library, and what it was before, seed by seed."""
    found = [(f"release, seed {seed}", row) for seed, row in OFFICIAL.items()]
    for variant, name in NAMES.items():
        found += [
            (f"{name}, seed {row['seed']}", row)
            for row in rows
            if row["variant"] == variant and row["pixels"] == LARGE
        ]
    head = ["", "smallest / largest, 2 bits", "3 bits", "4 bits"]
    table = [[*head, "ten random: lowest, median, highest", "mean of 16", "median"]]
    for name, row in found:
        pairs = [f"{row[f'smallest_{b}']:.1f} / {row[f'largest_{b}']:.1f}" for b in (2, 3, 4)]
        random = ", ".join(f"{row[f'random_{k}']:.1f}" for k in ("lowest", "median", "highest"))
        table.append([name, *pairs, random, f"{row['mean']:.1f}", f"{row['median']:.1f}"])
    return table


def small_table(rows: list[dict]) -> list[list[str]]:
    """Every variant on the small problem, the best first, beside the defaults."""
    trained: dict[str, dict[int, dict]] = {}
    for row in rows:
        if row["pixels"] != LARGE:
            trained.setdefault(row["variant"], {})[row["seed"]] = row
    base = trained.pop(BASE)

    def columns(found: dict[int, dict]) -> list[str]:
        done = [row for row in found.values() if row["outcome"] == "trained"]
        if not done:
            return [*["diverged"] * 5, str(len(found))]
        gains = [row["mean"] - base[row["seed"]]["mean"] for row in done if row["seed"] in base]
        figures = [
            statistics.mean((row[f"smallest_{bits}"] + row[f"largest_{bits}"]) / 2 for row in done)
            for bits in (2, 4)
        ]
        figures.append(statistics.mean(row["lowest"] for row in done))
        mean = statistics.mean(row["mean"] for row in done)
        gain = ", ".join(f"{gain:+.2f}" for gain in gains)
        return [f"{mean:.2f}", gain, *(f"{one:.1f}" for one in figures), str(len(found))]

    head = ["variant", "mean of 16", "against the defaults, by seed", "2 bits", "4 bits", "lowest"]
    means = [row["mean"] for row in base.values()]
    first = f"the defaults, means {min(means):.2f} to {max(means):.2f}"
    table = [[*head, "seeds"], [first, *columns(base)]]

    def gained(item: tuple[str, dict[int, dict]]) -> float:
        done = [row for row in item[1].values() if row["outcome"] == "trained"]
        gains = [row["mean"] - base[row["seed"]]["mean"] for row in done if row["seed"] in base]
        return statistics.mean(gains) if gains else float("-inf")

    for name, found in sorted(trained.items(), key=gained, reverse=True):
        table.append([f"`{name}`: {VARIANTS[name].what}", *columns(found)])
    return table


def tables() -> dict[str, list[list[str]]]:
    """All tables of the page by name."""
    rows = read(results_file.RESULTS / "equal_steps.csv")
    return {"equal_steps": official_table(rows), "equal_steps_small": small_table(rows)}


def main() -> None:
    """Writes the tables."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    fill(PAGE, tables())


if __name__ == "__main__":
    main()
