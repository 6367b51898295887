"""The part of a page between two comments, which a script writes from results."""

import argparse
import csv
import pathlib
import sys

from quantize_configs.files import write_text

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def read_results(name: str) -> list[dict[str, str]]:
    """Rows of the tracked file of a benchmark, none before there is one."""
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class PagePart:
    """A part of a page.

    Args:
      page: Path, from the folder of the project.
      name: Of the part; the page has comments "NAME begin: ..." and "NAME end" around it.
    """

    def __init__(self, page: str, name: str):
        self.path = ROOT / page
        self.name = name
        script = pathlib.PurePath(sys.argv[0]).name
        self._begin = f"<!-- {name} begin: written by scripts/{script} -->\n"
        self._end = f"<!-- {name} end -->"

    def write(self, content: str, *, check: bool = False) -> None:
        """Puts `content` between the comments; with `check` it must stand there already.

        Raises:
          SystemExit: It does not, or the page has no such comments.
        """
        text = self.path.read_text(encoding="utf-8")
        head, begin, rest = text.partition(self._begin)
        _, end, tail = rest.partition(self._end)
        if not begin or not end:
            raise SystemExit(f"{self.path} has no part {self._begin.strip()} ... {self._end}.")
        wanted = f"{head}{begin}{content.strip()}\n{end}{tail}"
        if check and wanted != text:
            raise SystemExit(f"{self.path} is out of date: python {sys.argv[0]}")
        if not check:
            write_text(self.path, wanted)


def run(part: PagePart, content: str, doc: str) -> None:
    """A script that writes a part, or with --check tells whether it is out of date."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    part.write(content, check=parser.parse_args().check)
