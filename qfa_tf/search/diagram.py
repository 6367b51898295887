"""An architecture drawn as SVG: a box per site with its bits and its part of the cost."""

import html
from collections.abc import Mapping

from qfa_tf.cost import SiteCost
from qfa_tf.space import Architecture, SearchSpace

_BOX_WIDTH, _BOX_HEIGHT, _GAP, _ROW = 104, 58, 8, 104
_LABEL = 84
_COLOURS = {2: "#fde4c8", 3: "#fdf1c0", 4: "#d9efd0", 8: "#cfe2f6"}
"""Fill by weight bits; darker text carries the figures."""


def draw(space: SearchSpace, architecture: Architecture, costs: list[SiteCost]) -> str:
    """Returns the drawing, a row for the stem, each stage and the head.

    Args:
      space: Of the architecture.
      architecture: What to draw.
      costs: Its sites, from `CostModel.per_site`; the bar in a box is its part of `mflops_8bit`.
    """
    total = sum(site.mflops_8bit for site in costs) or 1.0
    largest = max(site.mflops_8bit for site in costs) or 1.0
    rows: dict[str, list[SiteCost]] = {}
    for site in costs:
        rows.setdefault(_row_of(site.site), []).append(site)
    width = max(
        _LABEL + len(sites) * (_BOX_WIDTH + _GAP) + _extra_gaps(sites) for sites in rows.values()
    )
    height = _ROW * len(rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'style="max-width:100%" font-family="system-ui, sans-serif" font-size="11" role="img" '
        f'aria-label="the chosen architecture">'
    ]
    for number, (row, sites) in enumerate(rows.items()):
        top = number * _ROW + 26
        parts.append(_row_label(space, architecture, row, sites, top))
        x, block = _LABEL, None
        for site in sites:
            prefix = site.site.rpartition(".")[0]
            if block is not None and prefix != block:
                x += 2 * _GAP
            if prefix != block and row.startswith("s") and row != "stem":
                parts.append(_block_frame(space, architecture, prefix, sites, x, top))
            block = prefix
            parts.append(_box(site, x, top, site.mflops_8bit / total, site.mflops_8bit / largest))
            x += _BOX_WIDTH + _GAP
    return "\n".join([*parts, "</svg>"])


def legend() -> Mapping[int, str]:
    """Returns the fill of each weight bit-width."""
    return dict(_COLOURS)


def _row_of(site: str) -> str:
    if site in ("stem", "classifier") or site.startswith("head"):
        return "stem" if site == "stem" else "head"
    return site.split(".")[0]


def _extra_gaps(sites: list[SiteCost]) -> int:
    return 2 * _GAP * (len({site.site.rpartition(".")[0] for site in sites}) - 1)


def _row_label(space, architecture, row, sites, top) -> str:
    size = sites[0].output_size
    note = f"{size} x {size}"
    if row == "stem":
        note = f"in {architecture.resolution} px"
    elif row != "head":
        stage = space.stages[int(row[1:])]
        note = f"{stage.width} channels"
    return (
        f'<text x="0" y="{top + 24}" font-weight="bold">{html.escape(row)}</text>'
        f'<text x="0" y="{top + 40}" fill="#666">{html.escape(note)}</text>'
    )


def _block_frame(space, architecture, prefix, sites, x, top) -> str:
    stage, number = (int(part[1:]) for part in prefix.split("."))
    block = architecture.stages[stage][number]
    count = sum(site.site.startswith(f"{prefix}.") for site in sites)
    width = count * (_BOX_WIDTH + _GAP)
    note = f"{prefix}: kernel {block.kernel_size}, expand {block.expand_ratio}"
    if space.has_residual(stage, number):
        note += ", + input"
    return (
        f'<rect x="{x - _GAP / 2}" y="{top - 18}" width="{width}" height="{_BOX_HEIGHT + 24}" '
        f'fill="none" stroke="#bbb" rx="5"/>'
        f'<text x="{x}" y="{top - 6}" fill="#555">{html.escape(note)}</text>'
    )


def _box(site: SiteCost, x: float, top: float, share: float, relative: float) -> str:
    colour = _COLOURS.get(site.weight_bits, "#eee")
    name = site.site.rpartition(".")[2]
    bar = max(1.0, relative * (_BOX_WIDTH - 12))
    return (
        f"<g><title>{html.escape(site.site)}: {site.macs:,} MACs, {site.weight_bytes:,.0f} bytes "
        f"of weights</title>"
        f'<rect x="{x}" y="{top}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="4" '
        f'fill="{colour}" stroke="#888"/>'
        f'<text x="{x + 6}" y="{top + 15}" font-weight="bold">{html.escape(name)}</text>'
        f'<text x="{x + 6}" y="{top + 30}">w {site.weight_bits}, a {site.activation_bits} bits'
        f"</text>"
        f'<text x="{x + 6}" y="{top + 44}">{100 * share:.1f} % of cost</text>'
        f'<rect x="{x + 6}" y="{top + 49}" width="{bar:.1f}" height="4" fill="#c0392b"/></g>'
    )
