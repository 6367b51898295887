"""docs/runtimes.md shows the tracked reports."""

import json
import pathlib
import runpy

ROOT = pathlib.Path(__file__).parents[2]


def test_the_page_is_what_its_command_writes():
    script = runpy.run_path(str(ROOT / "benchmarks" / "runtimes.py"))
    page = script["PAGE"].read_text("utf-8")
    assert script["with_tables"](page) == page
    assert all(path.stem in page for path in script["RESULTS"].glob("*.json"))
    assert "| xnnpack | yes |" in page


def test_the_table_of_operators_is_that_of_the_file(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = runpy.run_path(str(ROOT / "benchmarks" / "delegates.py"))
    page = script["PAGE"].read_text("utf-8")
    content = json.loads(script["SEEN"].read_text("utf-8"))
    assert script["with_table"](page, content) == page
    assert "| CONV_2D int8 int8 int8 | taken, exact |" in page
