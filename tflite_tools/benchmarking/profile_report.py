"""What a profile says: the time of each operator, as rows, as a table and as a picture."""

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from quantize_configs.errors import MissingExtraError
from quantize_configs.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROFILER = "profiler"
"""The runtime's own; it counts whole microseconds."""
MICROSECONDS = 1e3  # per millisecond


@dataclasses.dataclass(frozen=True)
class OperatorTime:
    """One operator, or several that run as one.

    Attributes:
      layer: Layer of the flatbuffer, "?" where it could not be found.
      operators: Names such as CONV_2D, joined by "+".
      kernel: What the runtime calls it; empty when it has no time of its own.
      delegated: Whether a delegate ran it.
      microseconds: Mean per inference.
    """

    layer: str
    operators: str
    kernel: str
    delegated: bool
    microseconds: float


@dataclasses.dataclass(frozen=True)
class Profile:
    """Result of `profile`.

    Attributes:
      device: Where it ran.
      delegate: That was asked for.
      source: "profiler", or "single operators" when each was measured as a model of its own.
      whole_ms: Median of the whole model without the profiler, in milliseconds.
      operators: In order of execution.
    """

    device: str
    delegate: str
    source: str
    whole_ms: float
    operators: tuple[OperatorTime, ...]

    @property
    def sum_ms(self) -> float:
        """Sum over the operators in milliseconds."""
        return sum(item.microseconds for item in self.operators) / MICROSECONDS

    def by_layer(self, group: Callable[[str], str] = str) -> dict[str, float]:
        """Microseconds by layer, or by what `group` makes of a layer, in order of execution."""
        totals: dict[str, float] = {}
        for item in self.operators:
            name = group(item.layer)
            totals[name] = totals.get(name, 0.0) + item.microseconds
        return totals

    def as_dict(self) -> dict:
        """The profile in plain types, for JSON."""
        return {**dataclasses.asdict(self), "sum_ms": self.sum_ms}

    def table(self, group: Callable[[str], str] = str) -> str:
        """The times as text: a line per operator, and the sums by layer."""
        lines = [
            f"{self.device}, {self.delegate}: {self.whole_ms:.3f} ms; operators {self.sum_ms:.3f} "
            f"ms, measured by {self.source}" + (", to 1 us" if self.source == PROFILER else "")
        ]
        width = max(len(item.layer) for item in self.operators)
        total = max(sum(item.microseconds for item in self.operators), 1e-9)
        for item in self.operators:
            share = 100 * item.microseconds / total
            place = "" if item.delegated else " (built-in)"
            lines.append(
                f"{item.layer:<{width}} {item.microseconds:>9.2f} us {share:>5.1f} %  "
                f"{item.operators}: {item.kernel or 'fused'}{place}"
            )
        lines.append("by layer:")
        for layer, value in self.by_layer(group).items():
            lines.append(f"  {layer:<{width}} {value:>9.2f} us {100 * value / total:>5.1f} %")
        return "\n".join(lines)

    def __str__(self):
        return self.table()

    def plot(self, path: str | os.PathLike, group: Callable[[str], str] = str) -> None:
        """Draws the times by layer.

        Raises:
          MissingExtraError: Without matplotlib.
          FileWriteError: The file cannot be written.
        """
        figure = profile_figure(self, group)
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=120)


def profile_figure(profile: Profile, group: Callable[[str], str] = str) -> "Figure":
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
