"""`report.html`: a search on one page that needs no other file."""

import base64
import dataclasses
import html
import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.search.diagram import draw, legend
from qfa_tf.search.result import Candidate, Reference, SearchResult
from qfa_tf.search.sensitivity import Change
from quantize_configs.files import write_text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .2rem .7rem; text-align: right }
th:first-child, td:first-child { text-align: left }
tr.chosen { background: #fdeaea }
table.settings td { text-align: left }
img { max-width: 100% }
span.bits { border: 1px solid #888; border-radius: 3px; margin-right: .8rem; padding: 0 .4rem }
td.better { background: #dff2df } td.worse { background: #f9dcd8 }
"""


@dataclasses.dataclass(frozen=True)
class ReportDetails:
    """What is shown beside the result of a search.

    Attributes:
      references: Networks found elsewhere, for the picture.
      sensitivity: Of the chosen network.
      seconds: Time per phase.
      data: Names of the data splits with their sizes and what they are for.
      next_command: What to do next.
    """

    references: Sequence[Reference] = ()
    sensitivity: Sequence[Change] = ()
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    next_command: str = ""


def write_report(
    result: SearchResult, path: str | os.PathLike, details: ReportDetails | None = None
) -> None:
    """Writes the front, the chosen architecture site by site, the pictures and how it was made.

    Args:
      result: Of a search.
      path: HTML file to create or replace.
      details: What else to show.

    Raises:
      FileWriteError: The file cannot be written; the old one is untouched.
    """
    from qfa_tf.search.plot import render_pareto

    details = details or ReportDetails()
    title = html.escape(f"Search in {result.space.name}")
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
        _image(render_pareto(result, details.references), f"accuracy against {result.objective}"),
        "<h2>Chosen architecture</h2>",
        _chosen(result),
        *_sensitivity(result, details.sensitivity),
        "<h2>Front</h2>",
        _front(result),
        *_predictor(result),
        "<h2>How it was made</h2>",
        _table(["setting", "value"], _settings(result, details), kind="settings"),
    ]
    if details.next_command:
        parts.append(f"<p>Next: <code>{html.escape(details.next_command)}</code></p>")
    write_text(path, "\n".join([*parts, "</body></html>"]) + "\n")


def _settings(result: SearchResult, details: ReportDetails) -> list[tuple[str, str]]:
    constraints = ", ".join(str(constraint) for constraint in result.constraints)
    bits = "all of the space" if result.bits is None else ", ".join(map(str, result.bits))
    settings = ", ".join(f"{name} {value}" for name, value in result.settings.items())
    choice = "the lowest" if result.minimize else "the highest accuracy, then the lowest"
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


def _chosen(result: SearchResult) -> str:
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
    keys = "".join(
        f'<span class="bits" style="background:{colour}">{bits}-bit weights</span>'
        for bits, colour in legend().items()
    )
    others = ", ".join(
        f"{metric} {value:,.6g}" for metric, value in chosen.costs.items() if metric not in METRICS
    )
    return (
        f"<p>Accuracy {100 * chosen.accuracy:.2f} % on {chosen.images:,} images, "
        f"input {architecture.resolution} px{', ' if others else ''}{html.escape(others)}.</p>"
        f"<p>{keys} The bar in a box is the site's part of the 8-bit MFLOPs.</p>"
        f"{draw(result.space, architecture, sites)}"
        f"<pre>{html.escape(architecture.describe())}</pre>{_table(header, rows)}"
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
            cells += (
                f"<td>{change.changed_bits}</td>"
                f'<td class="{mark}">{100 * change.accuracy:+.2f}</td><td>{change.cost:+.4g}</td>'
            )
        lines.append(f"<tr>{cells}</tr>")
    return [
        "<h2>One step of bits less or more</h2>",
        "<p>The chosen network with a single bit-width changed to the next one of the space, "
        f"calibrated anew; accuracy on {html.escape(result.split)}.</p>",
        "\n".join([*lines, "</table>"]),
    ]


def _front(result: SearchResult) -> str:
    metrics = list(result.front[0].costs) if result.front else list(METRICS)

    def row(candidate: Candidate) -> tuple[str, ...]:
        architecture = result.architecture(candidate)
        return (
            f"{100 * candidate.accuracy:.2f}",
            *(f"{candidate.costs[metric]:,.6g}" for metric in metrics),
            str(architecture.resolution),
            "-".join(map(str, architecture.depths)),
            str(candidate.generation),
        )

    header = ["accuracy (%)", *metrics, "resolution", "depths", "generation"]
    marked = {i for i, index in enumerate(result.front_indices) if index == result.chosen_index}
    return _table(header, map(row, result.front), marked)


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


def _table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    marked: Collection[int] = (),
    kind: str = "",
) -> str:
    names = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    lines = [f'<table class="{kind}"><tr>{names}</tr>' if kind else f"<table><tr>{names}</tr>"]
    for i, row in enumerate(rows):
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        lines.append(f'<tr class="chosen">{cells}</tr>' if i in marked else f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</table>"])
