"""The wheel: what is in it, and that it imports away from the checkout, without extras."""

import contextlib
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

pytestmark = pytest.mark.xdist_group("wheel")  # builds it once
ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ("quantize_configs", "tflite_tools", "qfa_tf")
LIGHT = ("lazy-loader", "numpy")
"""All that describing and costing a space needs."""
MODULES = {
    "scikit-learn": "sklearn",
    "ai-edge-litert": "ai_edge_litert",
    "tensorflow-datasets": "tensorflow_datasets",
}
"""Where a package on the index is not imported by its own name."""

_LIGHT = """
import importlib.util, sys
import qfa_tf, quantize_configs, tflite_tools

assert "checkout" not in qfa_tf.__file__ and qfa_tf.__file__.startswith(sys.prefix), qfa_tf.__file__
assert importlib.util.find_spec("tensorflow") is None
space = qfa_tf.SearchSpace.from_preset("mobilenet_v3_w1.2")
costs = qfa_tf.CostModel(space).evaluate(space.encode(space.largest(bits=4))[None])
assert costs["macs"][0] > 1e8
assert issubclass(tflite_tools.UnsupportedCombinationError, qfa_tf.QFAError)
assert tflite_tools.IntegerGraph()
"""
_WITHOUT_EXTRAS = """
import sys

missing = set(sys.argv[1:])

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
import qfa_tf, quantize_configs, tflite_tools

for package in (quantize_configs, tflite_tools, qfa_tf):
    assert package.__file__.startswith(sys.prefix), package.__file__
    for name in package.__all__:
        getattr(package, name)
assert not missing & set(sys.modules)
"""


def run(*arguments, **options):
    done = subprocess.run(
        [*map(str, arguments)], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    # From a copy: a build leaves folders behind, and takes in those of earlier ones.
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "configs", source / "configs")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, source)
    (path,) = folder.glob("qfa_tf-*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> pathlib.Path:
    """Of an environment with the wheel and next to nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    path = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", path, "install", "--quiet")
    run(*pip, "--no-deps", wheel)
    run(*pip, *LIGHT)
    return path


def test_the_wheel_has_all_files_of_the_packages(wheel):
    there = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    there |= {f"qfa_tf/recipes/{path.name}" for path in (ROOT / "configs").glob("*.py")}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == there
    for package in PACKAGES:
        assert {f"{package}/py.typed", f"{package}/__init__.pyi"} <= names
    assert any(name.endswith(".json") for name in names)


def test_describing_a_space_needs_numpy_only(python, tmp_path):
    run(python, "-I", "-c", _LIGHT, cwd=tmp_path)


def test_programs_and_recipes_come_along(python, tmp_path):
    site_packages = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parents[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    environment = {"PYTHONPATH": str(site_packages), "TF_CPP_MIN_LOG_LEVEL": "2"}

    def output(program, *flags):
        command = [str(python.parent / program), *flags]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    for program in project["scripts"]:
        done = output(program, "--help")
        assert done.returncode == 0, done.stderr
        assert f"{program} --" in done.stdout
        assert "apps/" not in done.stdout
    done = output("qfa-train", "--recipe=digits", "--workdir=w", "--recipe.training.momentum=2.0")
    assert (done.returncode, (tmp_path / "w").exists()) == (1, False)
    assert "momentum must be below 1" in done.stderr
    done = output("qfa-train", "--recipe=digitz", "--workdir=w")
    assert "There is no recipe 'digitz'. Those that come along are digits," in done.stderr
    done = output("qfa-search", "--workdir=w")
    assert "Train first: qfa-train --recipe=digits --workdir=w" in done.stderr


def test_public_names_need_no_extra(python, tmp_path):
    # The large dependencies come from the environment of the tests; what only extras bring is
    # hidden.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {_name(text) for texts in project["optional-dependencies"].values() for text in texts}
    hidden = extras - {"qfa-tf"} - _needed(project["dependencies"])
    assert {"pymoo", "ai-edge-litert", "scikit-learn"} <= hidden
    modules = sorted(MODULES.get(name, name.replace("-", "_")) for name in hidden)
    site_packages = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parents[1]
    run(
        python,
        "-c",
        _WITHOUT_EXTRAS,
        *modules,
        cwd=tmp_path,
        env={"PYTHONPATH": str(site_packages), "TF_CPP_MIN_LOG_LEVEL": "2"},
    )


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def _needed(requirements) -> set[str]:
    """The packages that these need in turn, without any extra."""
    found, waiting = set(), [text for text in requirements if "extra ==" not in text]
    while waiting:
        name = _name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # for other systems
            needed = importlib.metadata.requires(name) or []
            waiting.extend(text for text in needed if "extra ==" not in text)
    return found


@pytest.mark.slow
def test_the_quickstart_runs_from_the_wheel(wheel, tmp_path):
    """`pip install qfa_tf[all]` in an empty environment, away from the checkout."""
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[all]")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    told = {}
    for step in (
        "qfa-train --recipe=digits --workdir=w --recipe.training.stage_steps=20,20,40 "
        "--recipe.training.warmup_steps=10",
        "qfa-search --workdir=w --population=4 --generations=2 --nosensitivity --workers=0",
        "qfa-export --workdir=w",
        "qfa-benchmark --workdir=w",
        "qfa-import --pretrained=digits --workdir=start",
    ):
        program, *flags = step.split()
        done = subprocess.run(
            [environment / "bin" / program, *flags],
            cwd=folder,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
        assert done.stderr == "", f"{step}\n{done.stderr}"
        print(f"$ {step}\n{done.stdout}")
        told[step] = done.stdout
    assert re.search(r"^0 of \d+ integers differ", told["qfa-export --workdir=w"], re.MULTILINE)
    assert "Next: qfa-search --workdir=start" in "".join(told.values())
    assert len(list(folder.glob("w/models/*.tflite"))) == 1
