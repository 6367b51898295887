"""Tables of documents, which benchmarks write from their results."""

import pathlib
import re
from collections.abc import Mapping, Sequence

from quantize_configs.files import write_text


def fill(page: pathlib.Path, tables: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Writes tables into a Markdown file; see `filled`."""
    write_text(page, filled(page.read_text(encoding="utf-8"), tables))


def filled(text: str, tables: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """The page with what stands between `<!-- NAME ... -->` and `<!-- end -->` as the table NAME.

    Args:
      text: Of the page, Markdown.
      tables: Rows of texts by name, the titles first.

    Raises:
      ValueError: The page has no place for a table, or several.
    """
    for name, (header, *rows) in tables.items():
        pattern = re.compile(rf"(<!-- {name}(?:: [^\n]*)? -->\n).*?(<!-- end -->)", re.DOTALL)
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        text, count = pattern.subn(lambda match, table=table: f"{match[1]}{table}{match[2]}", text)
        if count != 1:
            raise ValueError(f"The page must have one '<!-- {name} -->'. Found: {count}.")
    return text
