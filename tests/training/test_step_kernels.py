"""The kernels of a training's steps are chosen for that training only."""

import io

import pytest
import rich.console

from qfa_tf.runs.training.kernels import check_native_kernels, kernels_for, step_kernels
from quantize_configs.errors import InvalidInputError
from quantize_configs.native import building
from quantize_configs.native.operators import (
    ignore_native_kernels,
    native_operators,
    use_native_kernels,
)


@pytest.fixture
def console():
    yield rich.console.Console(file=io.StringIO(), width=200)
    ignore_native_kernels()


@pytest.fixture
def without_compiler(monkeypatch):
    monkeypatch.setattr(building, "COMPILERS", ())
    monkeypatch.delenv("CXX", raising=False)


needs_compiler = pytest.mark.skipif(
    building.find_compiler() is None, reason="native kernels need a C++ compiler"
)


@needs_compiler
def test_auto_takes_them_where_they_can_be_built_and_leaves_all_as_it_was(console):
    with step_kernels("auto", console):
        assert native_operators() is not None
    assert native_operators() is None


@needs_compiler
def test_off_does_without_kernels_that_the_process_uses(console):
    use_native_kernels()
    with step_kernels("off", console):
        assert native_operators() is None
    assert native_operators() is not None


@needs_compiler
def test_a_training_that_fails_leaves_all_as_it_was(console):
    with pytest.raises(ZeroDivisionError), step_kernels("on", console):
        raise ZeroDivisionError
    assert native_operators() is None


def test_auto_says_why_it_does_without(console, without_compiler):
    with step_kernels("auto", console):
        assert native_operators() is None
    assert "Training at about half the speed" in console.file.getvalue()
    assert "C++ compiler" in console.file.getvalue()


def test_on_insists(console, without_compiler):
    with pytest.raises(building.NativeBuildError), step_kernels("on", console):
        pass


def test_other_choices_are_refused():
    with pytest.raises(InvalidInputError, match=r"one of auto, on, off\. Received: 'yes'"):
        check_native_kernels("yes")


def test_masked_steps_do_without():
    assert [kernels_for(choice, "sliced") for choice in ("auto", "on", "off")] == [
        "auto",
        "on",
        "off",
    ]
    assert kernels_for("auto", "masked") == kernels_for("off", "masked") == "off"
    with pytest.raises(InvalidInputError, match="'on' computes slices"):
        kernels_for("on", "masked")
