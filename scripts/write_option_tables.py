"""Writes the tables of a recipe's keys in docs/ from the declarations in the code.

python scripts/write_option_tables.py
"""

import pathlib
import re

from qfa_tf.runs.config_fields import option_rows
from quantize_configs.files import write_text

DOCS = pathlib.Path(__file__).parents[1] / "docs"
TABLE = re.compile(r"<!-- options: (\w+) -->\n.*?<!-- end -->", re.DOTALL)
HEADER = "| `config.` | default | meaning |\n|---|---|---|"


def with_tables(text: str) -> str:
    """A page whose tables are those of the code."""

    def table(match: re.Match) -> str:
        rows = "\n".join([HEADER, *option_rows(match[1])])
        return f"<!-- options: {match[1]} -->\n{rows}\n<!-- end -->"

    return TABLE.sub(table, text)


def main() -> None:
    """Writes every page that has tables."""
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if TABLE.search(text):
            write_text(page, with_tables(text))


if __name__ == "__main__":
    main()
