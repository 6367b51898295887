"""The chart of a report: accuracy against cost as SVG, with points to hover, focus and click."""

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from qfa_tf.search.intervals import with_interval
from qfa_tf.search.result import Reference, SearchResult

WIDTH, HEIGHT = 860, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 16, 48
_LOG_FROM = 8.0
"""Ratio of the largest to the smallest cost from which on the axis is logarithmic."""
COLOURS = ("#1f5fa8", "#b4560d", "#2a7d4f", "#7a3f98", "#8a6d00", "#475569")
"""Of the searches, in turn; dark enough on white for text."""


@dataclasses.dataclass(frozen=True)
class ExportedPoint:
    """An exported file, drawn on the chart.

    Attributes:
      name: Of the model.
      cost: In the objective of the search.
      accuracy: Of the file, on the images of the export.
      images: How many.
      split: Which ones.
      file_bytes: Of the file.
      latency: Such as "host-1: 0.024 ms"; empty where nothing was measured.
      links: Names and relative addresses of its files.
      runtimes: A row of texts for each runtime that it was compared on, by titles of columns.
      runtime_images: How many images that was done with.
      against_float: `FloatReport.as_dict()` against its own weights in float; None where they were
        not compared.
    """

    name: str
    cost: float
    accuracy: float
    images: int
    split: str
    file_bytes: int
    latency: str = ""
    links: tuple[tuple[str, str], ...] = ()
    runtimes: Sequence[Mapping[str, str]] = ()
    runtime_images: int = 0
    against_float: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Series:
    """One search on a chart.

    Attributes:
      label: Its name.
      result: What it found.
    """

    label: str
    result: SearchResult


def draw_chart(
    series: Sequence[Series],
    references: Sequence[Reference] = (),
    exported: Sequence[ExportedPoint] = (),
) -> str:
    """Returns the SVG: fronts with their intervals, all candidates, references and files.

    Points of the first search have the attribute `data-member`, their number on its front.

    Args:
      series: The search of the page first; all have its objective.
      references: Networks found elsewhere.
      exported: Files of subnets of the first search.
    """
    axes = _Axes(series, references, exported)
    parts = [
        f'<svg id="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" '
        'aria-label="accuracy against cost; arrow keys move along the front, Enter opens one">',
        axes.draw(series[0].result.objective),
    ]
    for number, one in reversed(list(enumerate(series))):
        parts.append(_search(one, number, axes))
    for reference in references:
        x, y = axes.x(reference.cost), axes.y(reference.accuracy)
        told = f"{reference.label}: {100 * reference.accuracy:.2f} %"
        parts.append(
            f'<path class="reference" d="M{x:.1f} {y - 6:.1f}l6 11h-12z">{_title(told)}</path>'
            f'<text class="label" x="{x:.1f}" y="{y - 10:.1f}">'
            f"{html.escape(reference.label)}</text>"
        )
    for point in exported:
        x, y = axes.x(point.cost), axes.y(point.accuracy)
        told = f"file {point.name}: {with_interval(point.accuracy, point.images)} of {point.split}"
        parts.append(
            f'<g class="exported" tabindex="0" aria-label="{html.escape(told)}">'
            f'<path d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z"/>{_title(told)}</g>'
        )
    return "\n".join([*parts, "</svg>"])


def _search(one: Series, number: int, axes: "_Axes") -> str:
    """All candidates, and the front with intervals."""
    result, colour = one.result, COLOURS[number % len(COLOURS)]
    predicted = "predicted" in result.split
    parts = [f'<g class="search" data-search="{number}" style="--colour:{colour}">']
    if number == 0:
        parts += [
            f'<circle class="candidate" cx="{axes.x(candidate.costs[result.objective]):.1f}" '
            f'cy="{axes.y(candidate.accuracy):.1f}" r="2"/>'
            for candidate in result.candidates
        ]
    steps: list[str] = []
    for candidate in result.front:
        x, y = axes.x(candidate.costs[result.objective]), axes.y(candidate.accuracy)
        steps.append(f"{'H' if steps else 'M'}{x:.1f}{'V' if steps else ' '}{y:.1f}")
    parts.append(f'<path class="front" d="{"".join(steps)}"/>')
    for member, position in enumerate(result.front_indices):
        candidate = result.candidates[position]
        x, y = axes.x(candidate.costs[result.objective]), axes.y(candidate.accuracy)
        accuracy = f"{100 * candidate.accuracy:.2f} %"
        if not predicted:
            low, high = candidate.interval
            parts.append(
                f'<path class="interval" d="M{x:.1f} {axes.y(low):.1f}V{axes.y(high):.1f}"/>'
            )
            accuracy = with_interval(candidate.accuracy, candidate.images)
        chosen = position == result.chosen_index
        told = (
            f"{one.label}, front {member}{', chosen' if chosen else ''}: {accuracy}, "
            f"{result.objective} {candidate.costs[result.objective]:.6g}"
        )
        kind = "member" + (" chosen" if chosen else "")
        kind += " tied" if position in result.tied_indices else ""
        focus = f' tabindex="0" role="button" data-member="{member}"' if number == 0 else ""
        parts.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{8 if chosen else 5}"{focus} '
            f'aria-label="{html.escape(told)}">{_title(told)}</circle>'
        )
    return "\n".join([*parts, "</g>"])


class _Axes:
    """From costs and accuracies to places."""

    def __init__(
        self,
        series: Sequence[Series],
        references: Sequence[Reference],
        exported: Sequence[ExportedPoint],
    ):
        points = [(one.cost, one.accuracy) for one in references]
        points += [(one.cost, one.accuracy) for one in exported]
        costs = [cost for cost, _ in points]
        accuracies = [accuracy for _, accuracy in points]
        for one in series:
            costs += [candidate.costs[one.result.objective] for candidate in one.result.front]
            for candidate in one.result.front:
                accuracies += [candidate.accuracy, *candidate.interval]
        first = series[0].result
        costs += [candidate.costs[first.objective] for candidate in first.candidates]
        accuracies += [candidate.accuracy for candidate in first.candidates]
        self.logarithmic = min(costs) > 0 and max(costs) > _LOG_FROM * min(costs)
        low, high = self._scale(min(costs)), self._scale(max(costs))
        margin = 0.05 * (high - low) or max(abs(high), 1e-9) * 0.05
        self._low, self._high = low - margin, high + margin
        bottom, top = min(accuracies), max(accuracies)
        margin = 0.05 * (top - bottom) or 0.01
        self._bottom, self._top = max(0.0, bottom - margin), min(1.0, top + margin)

    def x(self, cost: float) -> float:
        """Place of a cost."""
        share = (self._scale(cost) - self._low) / (self._high - self._low)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(self, accuracy: float) -> float:
        """Place of an accuracy."""
        share = (accuracy - self._bottom) / (self._top - self._bottom)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    def draw(self, objective: str) -> str:
        """Lines and labels."""
        bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        parts = []
        for value in _ticks(100 * self._bottom, 100 * self._top):
            y = self.y(value / 100)
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
            parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{y + 4:.1f}">{value:g}</text>')
        for value in self._cost_ticks():
            x = self.x(value)
            parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>')
            parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}">{value:,g}</text>')
        middle = (_LEFT + right) / 2
        parts.append(
            f'<text class="axis" x="{middle}" y="{HEIGHT - 8}">{html.escape(objective)}</text>'
            f'<text class="axis" transform="translate(14 {HEIGHT / 2}) rotate(-90)">'
            "accuracy (%)</text>"
        )
        return "\n".join(parts)

    def _scale(self, cost: float) -> float:
        return math.log10(cost) if self.logarithmic else cost

    def _cost_ticks(self) -> list[float]:
        if not self.logarithmic:
            return _ticks(self._low, self._high)
        decades = range(math.floor(self._low), math.ceil(self._high) + 1)
        values = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
        return [value for value in values if self._low <= math.log10(value) <= self._high]


def _ticks(low: float, high: float) -> list[float]:
    """Some round values between two."""
    raw = (high - low) / 6
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw)
    first = math.ceil(low / step)
    return [float(f"{i * step:.10g}") for i in range(first, math.floor(high / step) + 1)]


def _title(text: str) -> str:
    return f"<title>{html.escape(text)}</title>"
