"""The plots of docs/study.md."""

import io
import pathlib

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import kendalltau

from quantize_configs.files import write_bytes

SIZE, WIDE = (6.4, 4.2), (9.6, 4.2)


def draw_all(results, folder: pathlib.Path) -> None:
    """Draws every plot of a `study_report.Results`."""
    import study_report

    variants = {
        "quantizers": study_report.QUANTIZERS,
        "estimators": study_report.ESTIMATORS,
        "zero_points": study_report.ZERO_POINTS,
    }
    for name, labels in variants.items():
        _save(_variants(results, labels), folder / f"{name}.png")
    _save(_inheritance(results, study_report.PHASES), folder / "inheritance.png")
    _save(_search(results, study_report), folder / "search.png")
    _save(_ranks(*study_report.paired_alone(results)), folder / "alone.png")


def draw_long_run(runs, folder: pathlib.Path) -> None:
    """Draws the plots of `long_run_report.LongRunResults`: the longest one, and nets alone."""
    _save(_front(runs[-1]), folder / "long_run.png")
    pairs = max((run.pairs(run) for run in runs), key=lambda pair: len(pair[0]))
    if len(pairs[0]) > 2:
        _save(_ranks(*pairs), folder / "long_run_alone.png")


def _figure(size) -> Figure:
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: pathlib.Path) -> None:
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    write_bytes(path, png.getvalue())


def _variants(results, labels) -> Figure:
    """Accuracy of every subnet, a column per variant and seed."""
    figure = _figure(SIZE)
    axes = figure.add_subplot()
    for i, run in enumerate(labels):
        for seed in results.seeds(run):
            values = results.accuracies(run, seed, "mixed")
            x = i + 0.2 * (seed - 1)
            axes.plot(np.full(len(values), x), values, "o", color=f"C{seed}", alpha=0.4, ms=4)
            mean = values.mean()
            axes.plot([x - 0.08, x + 0.08], [mean, mean], color=f"C{seed}", lw=2.5)
    axes.set_xticks(range(len(labels)), labels.values())
    axes.set_ylabel("accuracy (%), no retraining")
    axes.set_title("20 subnets of the mixed supernet; colours are seeds, bars are means")
    axes.grid(axis="y", alpha=0.3)
    return figure


def _inheritance(results, phases) -> Figure:
    """Mean accuracy before and after each phase."""
    figure = _figure(WIDE)
    axes = figure.add_subplot()
    for i, (moment, label) in enumerate((("start", "before"), ("end", "after"))):
        means = [np.array(list(results.means(run, moment=moment).values())) for run in phases]
        centres = np.arange(len(phases)) + 0.36 * i
        axes.bar(centres, [values.mean() for values in means], 0.34, label=label)
        for centre, values in zip(centres, means, strict=True):
            axes.plot(np.full(len(values), centre), values, "k.", ms=5)
    axes.set_xticks(
        np.arange(len(phases)) + 0.18, [label.replace(", ", ",\n") for label in phases.values()]
    )
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylabel("mean accuracy of 20 subnets (%)")
    axes.set_title("phases of OQA; dots are seeds")
    axes.set_ylim(0, 100)
    axes.legend(loc="upper right", ncols=2)
    axes.grid(axis="y", alpha=0.3)
    return figure


def _search(results, report) -> Figure:
    """Best accuracy within each budget."""
    figure = _figure(SIZE)
    axes = figure.add_subplot()
    levels = np.geomspace(report.LEVELS[0], report.LEVELS[-1], 60)
    methods = {"QFA, mixed bits": ("qfa",), "OQA, uniform bits": tuple(report.OQA.values())}
    for i, (label, runs) in enumerate(methods.items()):
        curves = np.array(
            [[results.best(runs, seed, level) for level in levels] for seed in results.seeds("qfa")]
        )
        known = np.isfinite(curves).all(axis=0)
        mean = curves[:, known].mean(axis=0)
        axes.plot(levels[known], mean, color=f"C{i}", label=label)
        low, high = curves[:, known].min(axis=0), curves[:, known].max(axis=0)
        axes.fill_between(levels[known], low, high, color=f"C{i}", alpha=0.2)
    axes.set_xscale("log")
    axes.set_xlabel("mflops_8bit at most")
    axes.set_ylabel("best accuracy found (%)")
    axes.set_title("equally many evaluations; bands are seeds")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    return figure


def _front(results) -> Figure:
    """Accuracy without retraining by cost, with intervals: mixed bits and uniform ones."""
    figure = _figure(SIZE)
    axes = figure.add_subplot()
    groups = {
        "uniform bits": (results.uniform(), "s"),
        "searched": (results.of("searched"), "o-"),
        "random": (results.of("random"), "."),
    }
    for color, (label, (nets, mark)) in enumerate(groups.items()):
        rows = sorted((kinds["supernet"] for kinds in nets.values()), key=_cost)
        if not rows:
            continue
        middle = np.array([row["accuracy"] for row in rows])
        errors = [middle - [row["low"] for row in rows], [row["high"] for row in rows] - middle]
        costs = [_cost(row) for row in rows]
        style = {"color": f"C{color}", "label": label, "capsize": 2, "ms": 5}
        axes.errorbar(costs, middle, errors, fmt=mark, **style)
    axes.set_xscale("log")
    axes.set_xlabel("mflops_8bit")
    axes.set_ylabel("test accuracy (%), no retraining")
    axes.set_title(f"one supernet of {results.steps:,} steps; bars are 95 % intervals")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    return figure


def _cost(row) -> float:
    return row["mflops_8bit"]


def _ranks(supernet, alone) -> Figure:
    """Accuracy alone over accuracy in the supernet."""
    figure = _figure(SIZE)
    axes = figure.add_subplot()
    axes.plot(supernet, alone, "o")
    ends = [min(supernet.min(), alone.min()), max(supernet.max(), alone.max())]
    axes.plot(ends, ends, "k:", label="equal")
    axes.set_xlabel("accuracy in the supernet (%), no retraining")
    axes.set_ylabel("accuracy trained alone (%)")
    tau = kendalltau(supernet, alone)[0]
    axes.set_title(f"{len(alone)} architectures, Kendall tau {tau:.2f}")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure
