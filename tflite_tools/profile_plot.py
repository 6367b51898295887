"""A picture of where the time of a model goes."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from quantize_configs.files import replacing

if TYPE_CHECKING:
    from tflite_tools.profiling import Profile


def plot_profile(
    profile: "Profile", path: str | os.PathLike, group: Callable[[str], str] = str
) -> None:
    """Draws a bar per layer, divided among its operators.

    Args:
      profile: What to draw.
      path: Image file to write.
      group: Makes a site of a layer.

    Raises:
      ImportError: Without matplotlib.
      FileWriteError: The file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install qfa_tf[plot]") from error

    layers = list(profile.by_layer(group))
    kinds = list(dict.fromkeys(item.operators for item in profile.operators))
    figure = Figure(figsize=(9, 1.5 + 0.25 * len(layers)), layout="constrained")
    axes = figure.subplots()
    left = dict.fromkeys(layers, 0.0)
    for number, kind in enumerate(kinds):
        widths = dict.fromkeys(layers, 0.0)
        for item in profile.operators:
            if item.operators == kind:
                widths[group(item.layer)] += item.microseconds
        shown = [layer for layer in layers if widths[layer]]
        if shown:
            axes.barh(
                shown,
                [widths[layer] for layer in shown],
                left=[left[layer] for layer in shown],
                label=kind,
                color=f"C{number % 10}",
                hatch="//" if number >= 10 else None,
            )
        for layer in shown:
            left[layer] += widths[layer]
    axes.set_yticks(range(len(layers)), layers, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("microseconds per inference")
    axes.set_title(
        f"{profile.device}, {profile.delegate}: {profile.whole_ms:.3f} ms "
        f"(operators {profile.sum_ms:.3f} ms, {profile.source})"
    )
    axes.legend(fontsize=7)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
