"""No page or file keeps the marks of a merge that was not finished."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = ("apps", "benchmarks", "configs", "docs", "scripts", "tests")
PACKAGES = ("qfa_tf", "quantize_configs", "tflite_tools")
KINDS = {".py", ".pyi", ".md", ".toml", ".sh", ".csv", ".json", ".html", ".cc", ".h"}
MARK = re.compile(r"^(<{7} |>{7} |={7}$)", re.MULTILINE)


def test_no_marks_of_an_unfinished_merge():
    files = [path for path in ROOT.glob("*") if path.suffix in KINDS]
    for folder in (*FOLDERS, *PACKAGES):
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in KINDS]
    assert len(files) > 500
    marked = [str(path.relative_to(ROOT)) for path in files if MARK.search(path.read_text("utf-8"))]
    assert not marked
