"""What the bits of an exported file cost, tensor by tensor, as a part of a report."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from qfa_tf.search.report_table import text_table

_WIDTH, _ROW, _LABEL, _VALUE = 860, 16, 260, 70
_COLOUR = "#1f5fa8"


def losses(name: str, report: Mapping[str, Any]) -> list[str]:
    """A heading, a sentence, a chart in the order of the network and a table, the worst first.

    Args:
      name: Of the file.
      report: `tflite_tools` `FloatReport.as_dict()`.

    Returns:
      Parts of a page.
    """
    layers = report["layers"]
    title = f"{name}: what its bits cost"
    told = "; ".join(map(_sentence, report["outputs"]))
    return [
        f"<h3>{html.escape(title)}</h3>",
        f"<p>Against the same weights in float, {report['images']:,} images: {html.escape(told)}. "
        "Signal-to-quantization-noise ratio of each tensor in decibels; 6 dB are one bit. A "
        "network that was trained with its bits needs them, and can be useless in float.</p>",
        f"<details><summary>{len(layers)} tensors</summary>",
        f'<div class="scroll">{_chart(layers)}</div>',
        f"{_table(layers)}</details>",
    ]


def _sentence(output: Mapping[str, Any]) -> str:
    ratio = f"{output['name']} {_ratio(output)} dB"
    if output["equal_answers"] is None:
        return ratio
    return f"{ratio}, the same answer on {output['equal_answers']:.2%}"


def _ratio(row: Mapping[str, Any]) -> str:
    return "no difference" if row["sqnr"] is None else f"{row['sqnr']:.1f}"


def _chart(layers: Sequence[Mapping[str, Any]]) -> str:
    """Bars from the first tensor to the last; what does not differ has the longest."""
    finite = [row["sqnr"] for row in layers if row["sqnr"] is not None]
    highest = max([*finite, 1.0])
    room = _WIDTH - _LABEL - _VALUE
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_ROW * len(layers) + 4}" role="img" '
        'aria-label="signal-to-quantization-noise ratio by tensor">'
    ]
    for place, row in enumerate(layers):
        ratio = highest if row["sqnr"] is None else max(row["sqnr"], 0.0)
        y, width = place * _ROW, room * ratio / highest
        label = html.escape(row["name"])
        parts.append(
            f'<text x="{_LABEL - 6}" y="{y + 12}" font-size="11" text-anchor="end">{label}</text>'
            f'<rect x="{_LABEL}" y="{y + 3}" width="{width:.1f}" height="{_ROW - 5}" '
            f'fill="{_COLOUR}"/>'
            f'<text x="{_LABEL + width + 4:.1f}" y="{y + 12}" font-size="11">{_ratio(row)}</text>'
        )
    return "".join([*parts, "</svg>"])


def _table(layers: Sequence[Mapping[str, Any]]) -> str:
    ordered = sorted(layers, key=lambda row: float("inf") if row["sqnr"] is None else row["sqnr"])
    head = ("tensor", "dB", "largest difference", "bias", "layer")
    rows = [
        (
            row["name"],
            _ratio(row),
            f"{row['largest_difference']:.4g}",
            f"{row['bias']:+.3f}",
            row["layer"],
        )
        for row in ordered
    ]
    return text_table(head, rows)
