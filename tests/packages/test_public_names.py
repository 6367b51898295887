"""The public names of `__init__.pyi`: they resolve, and nothing heavy is imported before."""

import ast
import importlib
import pathlib
import subprocess
import sys

import pytest

PACKAGES = ("quantize_configs", "tflite_tools", "qfa_tf")
ROOT = pathlib.Path(__file__).parents[2]
_IMPORTS_LITTLE = """
import sys
import qfa_tf, quantize_configs, tflite_tools
for package in (qfa_tf, quantize_configs, tflite_tools):
    assert set(package.__all__) <= set(dir(package))
    assert package.QFAError
heavy = {"tensorflow", "tf_keras", "keras", "ai_edge_litert", "scipy", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""


def stub(package: str) -> ast.Module:
    return ast.parse((ROOT / package / "__init__.pyi").read_text(encoding="utf-8"))


def imported(package: str) -> dict[str, str]:
    """Names of a stub and the module that each comes from."""
    return {
        alias.name: f"{package}.{statement.module}"
        for statement in stub(package).body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_stubs_list_what_they_import(package):
    names = sorted(imported(package))
    (listed,) = [
        ast.literal_eval(statement.value)
        for statement in stub(package).body
        if isinstance(statement, ast.Assign)
    ]
    assert sorted(listed) == names
    assert sorted(importlib.import_module(package).__all__) == names


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in PACKAGES for name in imported(package)]
)
def test_public_names_resolve(package, name):
    value = getattr(importlib.import_module(package), name)
    assert value is getattr(importlib.import_module(imported(package)[name]), name)


def test_importing_the_packages_imports_little():
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS_LITTLE], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
