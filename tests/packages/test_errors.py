"""Every exception that the packages define stands under one base."""

import importlib
import inspect
import pickle
import pkgutil

import pytest

import qfa_tf
import quantize_configs
import tflite_tools
from qfa_tf.runs.errors import CheckpointWriteError, ConfigError, RunError
from quantize_configs import errors

PACKAGES = (quantize_configs, tflite_tools, qfa_tf)
SIGNALS = {
    "qfa_tf.search.evaluator_pool.WorkerDied",
    "qfa_tf.search.problem.BudgetSpent",
    "qfa_tf.search.strategies.exact._Exhausted",
}
"""What ends a loop of our own and is caught there; no caller sees them."""
KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, errors.QFAError)
]


def modules():
    for package in PACKAGES:
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def exceptions() -> dict[str, type]:
    return {
        f"{value.__module__}.{value.__qualname__}": value
        for module in modules()
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, BaseException)
        and not issubclass(value, Warning)
        and value.__module__ == module.__name__
    }


def test_every_exception_has_the_base():
    found = exceptions()
    assert len(found) > 40
    assert {name for name, kind in found.items() if not issubclass(kind, errors.QFAError)} == (
        SIGNALS
    )


def test_every_exception_is_one_that_python_has_too():
    # `except ValueError` and its like go on working; bare kinds are never raised themselves.
    builtin = (ValueError, RuntimeError, ArithmeticError, OSError, ImportError)
    bare = {errors.QFAError, errors.UnavailableError}
    found = set(exceptions().values()) - bare
    assert not {
        kind
        for kind in found
        if issubclass(kind, errors.QFAError) and not issubclass(kind, builtin)
    }


def test_all_packages_show_the_same_base():
    assert qfa_tf.QFAError is quantize_configs.QFAError is tflite_tools.QFAError


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_public(kind):
    assert getattr(quantize_configs, kind.__name__) is kind
    assert kind.__doc__


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.InvalidInputError("x"), ValueError),
        (errors.InvalidTypeError("x"), TypeError),
        (errors.MissingFileError("x"), FileNotFoundError),
        (errors.ExistingFileError("x"), FileExistsError),
        (errors.UnsupportedError("x"), ValueError),
        (errors.DamagedFileError("x"), ValueError),
        (errors.StateError("x"), RuntimeError),
        (errors.MissingExtraError("The search", "pymoo", "search"), ImportError),
        (ConfigError("x"), RunError),
        (CheckpointWriteError("x"), OSError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_kinds_are_built_in_kinds_and_travel_between_processes(error, builtin):
    assert isinstance(error, builtin)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)


def test_a_missing_extra_tells_the_command():
    error = errors.MissingExtraError("The search", "pymoo", "search")
    assert str(error) == ("The search needs pymoo. Install it with: pip install 'qfa_tf[search]'")
