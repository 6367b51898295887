"""Notes of native code are kept back, and everything else passes."""

import os
import sys

import pytest

from tflite_tools.flatbuffer.native_notes import without_notes


def test_only_notes_are_kept_back(capfd):
    print("before", file=sys.stderr)
    with without_notes():
        os.write(2, b"INFO: Created a delegate.\nERROR: no memory\n")
        print("from Python", file=sys.stderr)
    os.write(2, b"INFO: after\n")
    told = capfd.readouterr().err.splitlines()
    assert sorted(told) == ["ERROR: no memory", "INFO: after", "before", "from Python"]


def fail():
    os.write(2, b"INFO: note\nreason\n")
    raise ValueError("refused")


def test_errors_pass(capfd):
    with pytest.raises(ValueError, match="refused"), without_notes():
        fail()
    assert capfd.readouterr().err == "reason\n"
