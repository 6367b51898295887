"""The reference of the public names, and the notebooks."""

import ast
import importlib
import json
import pathlib
import subprocess
import sys

import pytest
from documentation import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LONGEST = 100_000
"""Bytes of a notebook with its outputs."""


def modules():
    """`MODULES` of the script, read without running it: it needs an extra."""
    tree = ast.parse((ROOT / "scripts" / "api_reference.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "MODULES"
    )
    return ast.literal_eval(value)


@pytest.mark.parametrize("name", modules())
def test_public_names_say_what_they_are(name):
    module = importlib.import_module(name)
    assert module.__all__
    missing = [
        public
        for public in module.__all__
        if callable(getattr(module, public)) and not (getattr(module, public).__doc__ or "").strip()
    ]
    assert not missing


@pytest.mark.slow
def test_the_reference_has_every_public_name(tmp_path):
    pytest.importorskip("pdoc")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "api_reference.py"), f"--output={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in modules():
        text = (tmp_path / f"{name.replace('.', '/')}.html").read_text(encoding="utf-8")
        module = importlib.import_module(name)
        missing = [public for public in module.__all__ if f'id="{public}"' not in text]
        assert not missing, (name, missing)
    text = (tmp_path / "qfa_tf.html").read_text(encoding="utf-8")
    assert "Raises" in text
    assert "float [N, H, W, channels]" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_were_run_to_their_end(path):
    assert path.stat().st_size < LONGEST
    assert "site-packages" not in path.read_text(encoding="utf-8")  # of warnings
    cells = [
        cell
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert "error" not in kinds
    assert any(cell["outputs"] for cell in cells)
    for cell in cells:
        compile("".join(cell["source"]), path.name, "exec")


@pytest.mark.slow
def test_notebooks_run():
    pytest.importorskip("nbclient")
    script = pathlib.Path("scripts/run_notebooks.py")
    done = subprocess.run(
        [sys.executable, str(ROOT / script), "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
