"""Tables of a report, which scroll where they are wider than the screen."""

import html
from collections.abc import Iterable, Sequence


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of texts; `kind` is its class."""
    return markup_table(header, [tuple(map(html.escape, row)) for row in rows], kind)


def markup_table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """The same with cells of HTML."""
    names = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    table = f'<table class="{kind}">' if kind else "<table>"
    body = "\n".join(lines)
    return f'<div class="scroll">{table}<tr>{names}</tr>\n{body}\n</table></div>'
