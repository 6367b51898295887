"""The picture of a search: accuracy against cost."""

import io
from collections.abc import Sequence

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    raise ImportError(
        "Drawing needs matplotlib. Install it with: pip install 'qfa_tf[plot]'"
    ) from error

from qfa_tf.search.result import Reference, SearchResult

UNITS = {
    "macs": "MACs",
    "mflops_8bit": "8-bit MFLOPs (MACs * weight bits * activation bits / 64)",
    "bitops": "bit operations",
    "params": "parameters",
    "weight_bytes": "bytes of weights",
}


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
            xytext=(6, -3),
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
    axes.set_xlabel(UNITS[result.objective])
    axes.set_ylabel(f"accuracy on {result.split} (%)")
    axes.set_title(result.space.name)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
