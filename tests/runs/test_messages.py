"""What programs print, in terminals and in notebooks."""

import importlib.util
import sys

import pytest
import rich.console

from qfa_tf.runs.messages import new_console, say


@pytest.mark.parametrize("widgets", [False, True])
def test_a_notebook_gets_text_where_it_has_no_widgets(widgets, monkeypatch):
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if widgets else None)
    console = new_console()
    assert console.is_jupyter == widgets
    assert widgets or not console.is_terminal


def test_sentences_stand_as_they_are(console):
    text = f"[bold]{'long ' * 40}/a/path/[1].png"
    say(console, text)
    assert console.file.getvalue() == text + "\n"
