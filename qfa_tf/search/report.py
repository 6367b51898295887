"""`report.html`: a search on one page that needs no other file."""

import base64
import html
import os
from collections.abc import Iterable, Sequence

from qfa_tf.cost import METRICS, CostModel
from qfa_tf.search.result import Candidate, Reference, SearchResult
from quantize_configs.files import write_text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .2rem .7rem; text-align: right }
th:first-child, td:first-child { text-align: left }
tr.chosen { background: #fdeaea }
img { max-width: 100% }
"""


def write_report(
    result: SearchResult, path: str | os.PathLike, references: Sequence[Reference] = ()
) -> None:
    """Writes the front, the chosen architecture site by site, the picture and how it was made.

    Args:
      result: Of a search.
      path: HTML file to create or replace.
      references: Networks found elsewhere, for the picture.

    Raises:
      FileWriteError: The file cannot be written; the old one is untouched.
    """
    from qfa_tf.search.plot import render_pareto

    picture = base64.b64encode(render_pareto(result, references)).decode()
    title = html.escape(f"Search in {result.space.name}")
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
        _table(["setting", "value"], _settings(result)),
        f'<img alt="accuracy against {result.objective}" src="data:image/png;base64,{picture}">',
        "<h2>Chosen architecture</h2>",
        _chosen(result),
        "<h2>Front</h2>",
        _front(result),
        "</body></html>",
    ]
    write_text(path, "\n".join(parts) + "\n")


def _settings(result: SearchResult) -> list[tuple[str, str]]:
    constraints = ", ".join(str(constraint) for constraint in result.constraints)
    bits = "all of the space" if result.bits is None else ", ".join(map(str, result.bits))
    return [
        ("space", f"{result.space.name} ({result.space.fingerprint})"),
        ("architectures in the space", f"{result.space.size():.3e}"),
        ("objective", f"accuracy against {result.objective} ({result.accounting} accounting)"),
        ("constraints", constraints or "none"),
        ("bit-widths", bits),
        ("accuracy measured on", result.split),
        ("evaluated", str(len(result.candidates))),
        ("population, generations", f"{result.population}, {result.generations}"),
        ("seed", str(result.seed)),
        ("checkpoint", result.checkpoint_key),
        ("calibration", result.calibration_key),
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
    return (
        f"<p>Accuracy {100 * chosen.accuracy:.2f} % on {chosen.images:,} images, "
        f"input {architecture.resolution} px.</p>"
        f"<pre>{html.escape(architecture.describe())}</pre>{_table(header, rows)}"
    )


def _front(result: SearchResult) -> str:
    def row(candidate: Candidate) -> tuple[str, ...]:
        architecture = result.architecture(candidate)
        return (
            f"{100 * candidate.accuracy:.2f}",
            *(f"{candidate.costs[metric]:,.6g}" for metric in METRICS),
            str(architecture.resolution),
            "-".join(map(str, architecture.depths)),
            str(candidate.generation),
        )

    header = ["accuracy (%)", *METRICS, "resolution", "depths", "generation"]
    marked = {i for i, index in enumerate(result.front_indices) if index == result.chosen_index}
    return _table(header, map(row, result.front), marked)


def _table(
    header: Sequence[str], rows: Iterable[Sequence[str]], marked: set[int] = frozenset()
) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in header) + "</tr>"]
    for i, row in enumerate(rows):
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        lines.append(f'<tr class="chosen">{cells}</tr>' if i in marked else f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</table>"])
