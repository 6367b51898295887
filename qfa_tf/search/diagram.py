"""An architecture drawn as SVG: a box per site with its bits and its part of the cost."""

import html
import itertools
from collections.abc import Mapping

from qfa_tf.cost import SiteCost
from qfa_tf.network import Sum
from qfa_tf.space import Architecture, SearchSpace

_BOX_WIDTH, _BOX_HEIGHT, _GAP, _ROW = 104, 58, 8, 104
_LABEL = 84
_COLOURS = {2: "#fde4c8", 3: "#fdf1c0", 4: "#d9efd0", 8: "#cfe2f6"}
"""Fill by weight bits; darker text carries the figures."""
_WORDS = {"kernel_size": "kernel", "expand_ratio": "expand", "width": "width"}


def draw(space: SearchSpace, architecture: Architecture, costs: list[SiteCost]) -> str:
    """Returns the drawing, a row for each part of the network, such as a stage.

    Args:
      space: Of the architecture.
      architecture: What to draw.
      costs: Its sites, from `CostModel.per_site`; the bar in a box is its part of `mflops_8bit`.
    """
    total = sum(site.mflops_8bit for site in costs) or 1.0
    largest = max(site.mflops_8bit for site in costs) or 1.0
    rows: dict[str, list[SiteCost]] = {}
    for site in costs:
        rows.setdefault(space.network.node(site.site).row, []).append(site)
    width = max(
        _LABEL + sum(len(sites) * (_BOX_WIDTH + _GAP) + 2 * _GAP for _, sites in _slots(space, row))
        for row in rows.values()
    )
    height = _ROW * len(rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'style="max-width:100%" font-family="system-ui, sans-serif" font-size="11" role="img" '
        f'aria-label="the chosen architecture">'
    ]
    for number, (row, sites) in enumerate(rows.items()):
        top, x = number * _ROW + 26, float(_LABEL)
        note = f"in {architecture.resolution} px" if not number else _row_note(space, sites)
        parts.append(_row_label(row, note, top))
        for slot, own in _slots(space, sites):
            if slot is not None:
                parts.append(_slot_frame(space, architecture, slot, len(own), x, top))
            for site in own:
                label = space.network.node(site.site).label
                shares = (site.mflops_8bit / total, site.mflops_8bit / largest)
                parts.append(_box(site, label, x, top, *shares))
                x += _BOX_WIDTH + _GAP
            x += 2 * _GAP
    return "\n".join([*parts, "</svg>"])


def legend() -> Mapping[int, str]:
    """Returns the fill of each weight bit-width."""
    return dict(_COLOURS)


def _slots(space: SearchSpace, sites: list[SiteCost]) -> list[tuple[str | None, list[SiteCost]]]:
    """The sites of a row by the slots that they belong to."""
    groups = itertools.groupby(sites, lambda site: space.network.node(site.site).slot)
    return [(slot, list(own)) for slot, own in groups]


def _row_note(space: SearchSpace, sites: list[SiteCost]) -> str:
    slot = space.network.node(sites[0].site).slot
    if slot is None:
        return f"{sites[0].output_size} x {sites[0].output_size}"
    return f"{space.network.largest_width(space.network.slot(slot).output)} channels"


def _row_label(row: str, note: str, top: int) -> str:
    return (
        f'<text x="0" y="{top + 24}" font-weight="bold">{html.escape(row)}</text>'
        f'<text x="0" y="{top + 40}" fill="#666">{html.escape(note)}</text>'
    )


def _slot_frame(
    space: SearchSpace, architecture: Architecture, slot: str, count: int, x: float, top: int
) -> str:
    values = space.values(architecture)
    choices = [choice for choice in space.network.choices_of_slot[slot] if not choice.is_bits]
    chosen = [f"{_WORDS.get(choice.role)} {values[choice.name]}" for choice in choices]
    if any(isinstance(node, Sum) for node in space.network.members(slot)):
        chosen.append("+ input")
    note = f"{slot}: {', '.join(chosen)}" if chosen else slot
    width = count * (_BOX_WIDTH + _GAP)
    return (
        f'<rect x="{x - _GAP / 2}" y="{top - 18}" width="{width}" height="{_BOX_HEIGHT + 24}" '
        f'fill="none" stroke="#bbb" rx="5"/>'
        f'<text x="{x}" y="{top - 6}" fill="#555">{html.escape(note)}</text>'
    )


def _box(site: SiteCost, name: str, x: float, top: float, share: float, relative: float) -> str:
    colour = _COLOURS.get(site.weight_bits, "#eee")
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
