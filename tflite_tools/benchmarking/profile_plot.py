"""A picture of where the time of a model goes."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from quantize_configs.errors import MissingExtraError
from quantize_configs.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tflite_tools.benchmarking.profiling import Profile


def plot_profile(
    profile: "Profile", path: str | os.PathLike, group: Callable[[str], str] = str
) -> None:
    """Draws `profile_figure` into an image file.

    Raises:
      MissingExtraError: Without matplotlib.
      FileWriteError: The file cannot be written.
    """
    figure = profile_figure(profile, group)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def profile_figure(profile: "Profile", group: Callable[[str], str] = str) -> "Figure":
    """A bar per layer from top to bottom, divided among its operators.

    Args:
      profile: What to draw.
      group: Makes a site of a layer.

    Raises:
      MissingExtraError: Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("Drawing", "matplotlib", "plot") from error

    layers = list(profile.by_layer(group))
    kinds = list(dict.fromkeys(item.operators for item in profile.operators))
    widths = np.zeros((len(kinds), len(layers)))
    for item in profile.operators:
        widths[kinds.index(item.operators), layers.index(group(item.layer))] += item.microseconds
    figure = Figure(figsize=(9, 1.5 + 0.25 * len(layers)), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(layers))
    left = np.zeros(len(layers))
    for number, kind in enumerate(kinds):
        axes.barh(
            positions,
            widths[number],
            left=left,
            label=kind,
            color=f"C{number % 10}",
            hatch="//" if number >= 10 else None,
        )
        left += widths[number]
    axes.set_yticks(positions, layers, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("microseconds per inference")
    axes.set_title(
        f"{profile.device}, {profile.delegate}: {profile.whole_ms:.3f} ms "
        f"(operators {profile.sum_ms:.3f} ms, {profile.source})"
    )
    axes.legend(fontsize=7)
    return figure
