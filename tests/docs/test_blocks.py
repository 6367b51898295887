"""The code blocks of README.md and docs/ run, page by page, in a folder of their own."""

import itertools
import json

import pytest
from contexts import CONTEXTS
from documentation import blocks

PYTHON = blocks("python")
PAGES = {
    page: list(group) for page, group in itertools.groupby(PYTHON, key=lambda block: block.page)
}
NOT_RUN = {
    "adb:SERIAL": "needs a phone",
    "mediapipe.tasks": "needs MediaPipe Tasks; tests/export/test_mediapipe.py does the same",
    "b234_ps.pth": "needs a file of the official release",
    "# tflite_tools/operators/pooling.py": "shows parts of three files of this package",
}
"""What a block has that cannot run here, and why."""
SLOW = {"README.md", "oqa.md", "own_network.md", "training.md", "deployment.md"}
"""Pages that build or train supernets, or measure every layer."""


def reason(block):
    return next((why for part, why in NOT_RUN.items() if part in block.text), None)


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_block_compiles(block):
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in PAGES],
)
def test_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page, **CONTEXTS.get(page, dict)()}
    run = [block for block in PAGES[page] if reason(block) is None]
    for block in run:
        exec(compile(block.text, str(block), "exec"), names)


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_is_json(block):
    assert json.loads(block.text)
