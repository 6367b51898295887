"""docs/runtimes.md shows the tracked reports."""

import pathlib
import runpy

ROOT = pathlib.Path(__file__).parents[2]


def test_the_page_is_what_its_command_writes():
    script = runpy.run_path(str(ROOT / "benchmarks" / "runtimes.py"))
    page = script["PAGE"].read_text("utf-8")
    assert script["with_tables"](page) == page
    assert all(path.stem in page for path in script["RESULTS"].glob("*.json"))
    assert "| xnnpack | yes |" in page
