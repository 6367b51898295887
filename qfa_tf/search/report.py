"""`report.html`: a search on one page that needs no other file."""

import base64
import dataclasses
import html
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.search.diagram import draw, legend
from qfa_tf.search.intervals import with_interval
from qfa_tf.search.predicting_evaluator import PREDICTED
from qfa_tf.search.report_chart import COLOURS, ExportedPoint, Series, draw_chart
from qfa_tf.search.report_losses import losses
from qfa_tf.search.report_page import SCRIPT, STYLE
from qfa_tf.search.report_table import markup_table, text_table
from qfa_tf.search.result import Candidate, Reference, SearchResult
from qfa_tf.search.sensitivity import Change
from quantize_configs.files import write_text


class Unseen(NamedTuple):
    """The chosen network on images that nothing was chosen by.

    Attributes:
      split: Name of their split.
      accuracy: Fraction from 0 to 1.
      images: Their number.
      key: Identifies network, weights and images.
    """

    split: str
    accuracy: float
    images: int
    key: str = ""

    def __str__(self):
        return (
            f"On {self.images:,} images of {self.split}, by which nothing was chosen: "
            f"{with_interval(self.accuracy, self.images)}"
        )


@dataclasses.dataclass(frozen=True)
class ReportDetails:
    """What is shown beside the result of a search.

    Attributes:
      references: Networks found elsewhere, for the picture.
      sensitivity: Of the chosen network.
      seconds: Time per phase.
      data: Names of the data splits with their sizes and what they are for.
      next_command: What to do next.
      name: Of the search.
      others: Other searches of the same objective, drawn beside it.
      exported: Files of its subnets.
      links: Names and relative addresses of other files.
      unseen: The chosen network on other images than those it was chosen by.
    """

    references: Sequence[Reference] = ()
    sensitivity: Sequence[Change] = ()
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    next_command: str = ""
    name: str = "this search"
    others: Sequence[Series] = ()
    exported: Sequence[ExportedPoint] = ()
    links: Sequence[tuple[str, str]] = ()
    unseen: Unseen | None = None


def write_report(
    result: SearchResult, path: str | os.PathLike, details: ReportDetails | None = None
) -> None:
    """Writes a page with the front, its members, the files made of them and how it was made.

    The page loads nothing from elsewhere.

    Args:
      result: Of a search.
      path: HTML file to create or replace.
      details: What else to show.

    Raises:
      FileWriteError: The file cannot be written; the old one is untouched.
    """
    details = details or ReportDetails()
    title = html.escape(f"Search in {result.space.name}: {details.name}")
    series = [Series(details.name, result), *details.others]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>",
        _legend(series, details),
        f'<div class="scroll">{draw_chart(series, details.references, details.exported)}</div>',
        '<p id="tip" role="status">Hover, click, or use the arrow keys on the front.</p>',
        *_files(details),
        "<h2>Chosen architecture</h2>",
        _chosen(result, details.unseen),
        *_sensitivity(result, details.sensitivity),
        "<h2>Front</h2>",
        _front(result),
        "<h2>Members of the front</h2>",
        *_members(result),
        *_predictor(result),
        "<h2>How it was made</h2>",
        text_table(["setting", "value"], _settings(result, details), kind="settings"),
    ]
    if details.next_command:
        parts.append(f"<p>Next: <code>{html.escape(details.next_command)}</code></p>")
    parts.append(f"</main><script>{SCRIPT}</script></body></html>")
    write_text(path, "\n".join(parts) + "\n")


def _legend(series: Sequence[Series], details: ReportDetails) -> str:
    parts = []
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        box = ""
        if number:
            box = f'<input type="checkbox" checked data-toggle="{number}"> '
        parts.append(
            f'<label>{box}<span class="swatch" style="background:{colour}"></span>'
            f"{html.escape(one.label)}</label>"
        )
    parts.append("<span>bars: 95 % intervals</span><span>filled: not told from the best</span>")
    if details.exported:
        parts.append("<span>&#9670; file, measured after export</span>")
    return f'<p class="legend">{"".join(parts)}</p>'


def _files(details: ReportDetails) -> list[str]:
    """The exported models, and links to the files of the search."""
    parts = []
    if details.links:
        links = ", ".join(_link(*pair) for pair in details.links)
        parts.append(f"<p>Files of this search: {links}.</p>")
    if not details.exported:
        return parts
    head = ["model", "accuracy of the file", "bytes", "latency", "files"]
    rows = [
        (
            html.escape(point.name),
            html.escape(f"{with_interval(point.accuracy, point.images)} on {point.split}"),
            f"{point.file_bytes:,}",
            html.escape(point.latency or "not measured"),
            ", ".join(_link(*pair) for pair in point.links),
        )
        for point in details.exported
    ]
    return [
        *parts,
        "<h2>Files</h2>",
        markup_table(head, rows),
        *_runtimes(details.exported),
        *_losses(details.exported),
    ]


def _runtimes(exported: Sequence[ExportedPoint]) -> list[str]:
    """What became of each file on the runtimes that it was compared on."""
    parts = []
    for point in exported:
        if point.runtimes:
            title = f"{point.name} on every runtime, {point.runtime_images:,} images"
            rows = [tuple(row.values()) for row in point.runtimes]
            parts += [f"<h3>{html.escape(title)}</h3>", text_table(list(point.runtimes[0]), rows)]
    return parts


def _losses(exported: Sequence[ExportedPoint]) -> list[str]:
    """What the bits of each file cost, tensor by tensor."""
    return [
        part
        for point in exported
        if point.against_float is not None
        for part in losses(point.name, point.against_float)
    ]


def _link(name: str, address: str) -> str:
    return f'<a href="{html.escape(urllib.parse.quote(address))}">{html.escape(name)}</a>'


def _settings(result: SearchResult, details: ReportDetails) -> list[tuple[str, str]]:
    constraints = ", ".join(str(constraint) for constraint in result.constraints)
    bits = "all of the space" if result.bits is None else ", ".join(map(str, result.bits))
    settings = ", ".join(f"{name} {value}" for name, value in result.settings.items())
    choice = (
        "the lowest" if result.minimize else "the highest accuracy; of what noise ties, the lowest"
    )
    seconds = ", ".join(f"{phase} {value:.1f} s" for phase, value in details.seconds.items())
    return [
        ("space", f"{result.space.name} ({result.space.fingerprint})"),
        ("architectures in the space", f"{result.space.size():.3e}"),
        ("objectives", f"accuracy, {result.objective} ({result.accounting} accounting)"),
        ("chosen by", f"{choice} {result.objective} within the constraints"),
        ("constraints", constraints or "none"),
        ("bit-widths", bits + (", one for the whole network" if result.uniform_bits else "")),
        ("strategy", result.strategy + (f" ({settings})" if settings else "")),
        ("exact evaluations", f"{result.spent:g} of {result.budget}"),
        ("abandoned early", str(result.abandoned)),
        ("seed", str(result.seed)),
        ("accuracy measured on", result.split),
        *((f"data: {name}", text) for name, text in details.data.items()),
        ("checkpoint", result.checkpoint_key),
        ("calibration", result.calibration_key),
        *([("time", seconds)] if seconds else []),
        ("versions", ", ".join(f"{name} {value}" for name, value in result.versions.items())),
    ]


def _chosen(result: SearchResult, unseen: Unseen | None) -> str:
    chosen = result.chosen
    if chosen is None:
        return "<p>No evaluated candidate meets all constraints.</p>"
    architecture = result.architecture(chosen)
    sites = CostModel(result.space, result.accounting).per_site(architecture)
    rows = [
        (
            site.site,
            str(site.output_size),
            str(site.weight_bits),
            str(site.activation_bits),
            f"{site.macs:,}",
            f"{site.mflops_8bit:.4f}",
            f"{site.params:,}",
            f"{site.weight_bytes:,.0f}",
        )
        for site in sites
    ]
    rows.append(
        (
            "total",
            *("",) * 3,
            f"{chosen.costs['macs']:,.0f}",
            f"{chosen.costs['mflops_8bit']:.4f}",
            f"{chosen.costs['params']:,.0f}",
            f"{chosen.costs['weight_bytes']:,.0f}",
        )
    )
    header = [
        "site",
        "output",
        "w bits",
        "a bits",
        "MACs",
        "8-bit MFLOPs",
        "params",
        "weight bytes",
    ]
    keys = " ".join(
        f'<span class="bits" style="background:{colour}">{bits}-bit weights</span>'
        for bits, colour in legend().items()
    )
    others = ", ".join(
        f"{metric} {value:,.6g}" for metric, value in chosen.costs.items() if metric not in METRICS
    )
    return (
        f"<p>Accuracy {_accuracy(result, chosen)} on {chosen.images:,} images, "
        f"input {architecture.resolution} px{', ' if others else ''}{html.escape(others)}. "
        f"{'' if unseen is None else html.escape(f'{unseen}.')}</p>"
        f"<p>{keys} The bar in a box is the site's part of the 8-bit MFLOPs.</p>"
        f"{draw(result.space, architecture, sites)}"
        f"<pre>{html.escape(architecture.describe())}</pre>{text_table(header, rows)}"
    )


def _sensitivity(result: SearchResult, changes: Sequence[Change]) -> list[str]:
    if not changes:
        return []
    sides: dict[tuple[str, str, int], dict[str, Change]] = {}
    for change in changes:
        side = "less" if change.changed_bits < change.bits else "more"
        sides.setdefault((change.site, change.tensor, change.bits), {})[side] = change
    lines = [
        "<table><tr><th>site</th><th>tensor</th><th>bits</th><th>fewer bits</th>"
        f"<th>accuracy (points)</th><th>{html.escape(result.objective)}</th><th>more bits</th>"
        f"<th>accuracy (points)</th><th>{html.escape(result.objective)}</th></tr>"
    ]
    for (site, tensor, bits), pair in sides.items():
        cells = f"<td>{site}</td><td>{tensor}</td><td>{bits}</td>"
        for side in ("less", "more"):
            if side not in pair:
                cells += "<td></td><td></td><td></td>"
                continue
            change = pair[side]
            mark = "better" if change.accuracy > 0 else "worse" if change.accuracy < 0 else ""
            mark = mark if change.is_real else ""
            cells += (
                f"<td>{change.changed_bits}</td>"
                f'<td class="{mark}">{100 * change.accuracy:+.2f}</td><td>{change.cost:+.4g}</td>'
            )
        lines.append(f"<tr>{cells}</tr>")
    return [
        "<h2>One step of bits less or more</h2>",
        "<p>The chosen network with a single bit-width changed to the next one of the space, "
        f"calibrated anew; accuracy on {html.escape(result.split)}. Coloured is what noise "
        "does not explain (a paired test at 5 %).</p>",
        "\n".join([*lines, "</table>"]),
    ]


def _front(result: SearchResult) -> str:
    metrics = list(result.front[0].costs) if result.front else list(METRICS)
    lines = []
    for member, position in enumerate(result.front_indices):
        candidate = result.candidates[position]
        architecture = result.architecture(candidate)
        tied = "yes" if position in result.tied_indices else ""
        cells = (
            str(member),
            f"{100 * candidate.accuracy:.2f}",
            _interval(result, candidate),
            tied,
            *(f"{candidate.costs[metric]:,.6g}" for metric in metrics),
            str(architecture.resolution),
            "-".join(map(str, architecture.depths)),
            str(candidate.generation),
        )
        kind = ' class="chosen"' if position == result.chosen_index else ""
        row = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr{kind} data-row="{member}">{row}</tr>')
    header = [
        "member", "accuracy (%)", "95 % interval", "not told from the best", *metrics,
        "resolution", "depths", "generation",
    ]  # fmt: skip
    heads = "".join(
        f'<th><button type="button">{html.escape(name)}</button></th>' for name in header
    )
    return (
        '<div class="scroll"><table id="front" class="sortable"><thead><tr>'
        f"{heads}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table></div>"
    )


def _members(result: SearchResult) -> list[str]:
    """Each member of the front, closed until it is asked for."""
    parts = []
    for member, position in enumerate(result.front_indices):
        candidate = result.candidates[position]
        architecture = result.architecture(candidate)
        sites = CostModel(result.space, result.accounting).per_site(architecture)
        chosen = ", chosen" if position == result.chosen_index else ""
        parts.append(
            f'<details id="member-{member}"><summary>front {member}{chosen}: '
            f"{html.escape(_accuracy(result, candidate))}, {html.escape(result.objective)} "
            f"{candidate.costs[result.objective]:,.6g}</summary>"
            f'<div class="scroll">{draw(result.space, architecture, sites)}</div>'
            f"<pre>{html.escape(architecture.describe())}</pre></details>"
        )
    return parts


def _accuracy(result: SearchResult, candidate: Candidate) -> str:
    if PREDICTED in result.split:
        return f"{100 * candidate.accuracy:.2f} % predicted"
    return with_interval(candidate.accuracy, candidate.images)


def _interval(result: SearchResult, candidate: Candidate) -> str:
    if PREDICTED in result.split:
        return ""
    low, high = candidate.interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _predictor(result: SearchResult) -> list[str]:
    quality = result.quality
    if quality is None:
        return []
    from qfa_tf.search.plot import render_calibration

    return [
        "<h2>Predictor</h2>",
        f"<p>{html.escape(str(quality))}; {quality.outliers} outliers were left out.</p>",
        _image(render_calibration(quality), "measured against predicted accuracy"),
    ]


def _image(png: bytes, text: str) -> str:
    content = base64.b64encode(png).decode()
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{content}">'
