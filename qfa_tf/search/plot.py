"""The pictures of a search: accuracy against cost, and predictions against measurements."""

import io
import os
from collections.abc import Sequence

from quantize_configs.errors import MissingExtraError

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
except ModuleNotFoundError as error:
    raise MissingExtraError("Drawing", "matplotlib", "plot") from error

from qfa_tf.search.predictor_quality import PredictorQuality
from qfa_tf.search.result import Reference, SearchResult
from quantize_configs.files import write_bytes

_LOG_FROM = 8.0
"""Ratio of the largest to the smallest cost from which on the axis is logarithmic."""
UNITS = {
    "macs": "MACs",
    "mflops_8bit": "8-bit MFLOPs (MACs * weight bits * activation bits / 64)",
    "bitops": "bit operations",
    "params": "parameters",
    "weight_bytes": "bytes of weights",
    "tflite_bytes": "bytes of the .tflite file",
    "latency_ms": "latency (ms)",
}


def axis_label(metric: str) -> str:
    """Returns the name of a cost with its unit."""
    base, _, table = metric.partition("@")
    return UNITS[base] + (f" on {table}" if table else "")


def plot_pareto(
    result: SearchResult, path: str | os.PathLike, references: Sequence[Reference] = ()
) -> None:
    """Writes a PNG of all candidates, the front, the chosen one and `references`.

    Raises:
      FileWriteError: The file cannot be written; the old one is untouched.
    """
    write_bytes(path, render_pareto(result, references))


def render_pareto(result: SearchResult, references: Sequence[Reference] = ()) -> bytes:
    """Returns a PNG of all candidates, the front, the chosen one and `references`."""
    figure = Figure(figsize=(7.5, 5.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.scatter(
        [candidate.costs[result.objective] for candidate in result.candidates],
        [100 * candidate.accuracy for candidate in result.candidates],
        s=10,
        color="0.75",
        label=f"{len(result.candidates)} evaluated",
    )
    axes.plot(
        [candidate.costs[result.objective] for candidate in result.front],
        [100 * candidate.accuracy for candidate in result.front],
        color="tab:blue",
        marker="o",
        markersize=4,
        drawstyle="steps-post",
        label=f"front of {len(result.front)}",
    )
    for reference in references:
        axes.scatter(reference.cost, 100 * reference.accuracy, marker="^", s=40, color="tab:green")
        axes.annotate(
            reference.label,
            (reference.cost, 100 * reference.accuracy),
            textcoords="offset points",
            xytext=(0, 7),
            horizontalalignment="center",
            fontsize=8,
        )
    if result.chosen is not None:
        axes.scatter(
            result.chosen.costs[result.objective],
            100 * result.chosen.accuracy,
            marker="*",
            s=180,
            color="tab:red",
            zorder=3,
            label="chosen",
        )
    for constraint in result.constraints:
        if constraint.metric == result.objective:
            axes.axvline(constraint.bound, color="0.4", linestyle="--", linewidth=1)
        elif constraint.metric == "accuracy":
            axes.axhline(100 * constraint.bound, color="0.4", linestyle="--", linewidth=1)
    drawn = [c.costs[result.objective] for c in result.candidates] + [r.cost for r in references]
    if min(drawn) > 0 and max(drawn) > _LOG_FROM * min(drawn):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.08, y=0.08)
    axes.set_xlabel(axis_label(result.objective))
    axes.set_ylabel(f"accuracy on {result.split} (%)")
    axes.set_title(result.space.name)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return _png(figure)


def render_calibration(quality: PredictorQuality) -> bytes:
    """Returns a PNG of predicted against measured accuracies of held-out architectures."""
    figure = Figure(figsize=(4.5, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    measured = [100 * value for value in quality.measured]
    predicted = [100 * value for value in quality.predicted]
    ends = min(measured + predicted), max(measured + predicted)
    axes.plot(ends, ends, color="0.6", linewidth=1, label="measured = predicted")
    axes.scatter(predicted, measured, s=14, color="tab:blue", alpha=0.7)
    axes.set_xlabel("predicted accuracy (%)")
    axes.set_ylabel("measured accuracy (%)")
    axes.set_title(f"Kendall tau {quality.kendall_tau:.3f}, RMSE {100 * quality.rmse:.2f} points")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=8)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
