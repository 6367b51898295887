"""What a program misses is said before it works."""

import collections
import importlib.util
import pathlib
import shutil
import tomllib

import pytest

from qfa_tf.compression import compress
from qfa_tf.latency import measure_latency_table
from qfa_tf.runs import SearchSettings, Workdir, WorkdirError, export_model, search_workdir, train
from qfa_tf.runs.architecture_files import write_architecture
from qfa_tf.runs.benchmarking.run import (
    benchmark_flatbuffers,
    compare_flatbuffers,
    profile_flatbuffers,
)
from qfa_tf.runs.benchmarking.runtimes import compare_models
from qfa_tf.runs.config import complete_config
from qfa_tf.runs.requirements import (
    EXTRAS,
    require_packages,
    require_space,
    require_writable,
)
from qfa_tf.runs.training import memory as warning
from qfa_tf.training import memory
from quantize_configs.errors import MissingExtraError

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def without(monkeypatch):
    """Lets packages seem not to be installed."""
    find_spec = importlib.util.find_spec

    def hide(*modules):
        def find(name, *rest):
            if name in EXTRAS:  # whether it is here or not
                return None if name in modules else importlib.util
            return find_spec(name, *rest)

        monkeypatch.setattr(importlib.util, "find_spec", find)

    return hide


@pytest.mark.parametrize("module", EXTRAS)
def test_a_missing_package_is_named_with_the_command(module, without):
    without()
    require_packages("Everything", *EXTRAS)
    without(module)
    package, extra = EXTRAS[module]
    with pytest.raises(MissingExtraError) as caught:
        require_packages("This", *EXTRAS)
    assert str(caught.value).startswith(f"This needs {package}.")
    assert f"pip install 'qfa_tf[{extra}]'" in str(caught.value)


def test_the_extras_bring_these_packages():
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    for package, extra in EXTRAS.values():
        assert any(line.startswith(package) for line in extras[extra])


@pytest.mark.parametrize(
    ("strategy", "missing"), [("nsga2", "pymoo"), ("predictor", "sklearn"), ("refine", "sklearn")]
)
def test_a_search_misses_them_before_it_evaluates(run_copy, without, console, strategy, missing):
    without(missing)
    before = run_copy.evaluations.read_bytes()
    settings = SearchSettings.from_config(run_copy.config(), strategy=strategy)
    with pytest.raises(MissingExtraError, match=r"pip install 'qfa_tf"):
        search_workdir(run_copy, settings, console)
    assert run_copy.evaluations.read_bytes() == before
    assert not (run_copy.path / "searches").exists()


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        (lambda: benchmark_flatbuffers(["x.tflite"], "out"), "ai_edge_litert"),
        (lambda: profile_flatbuffers({}, pathlib.Path("out")), "ai_edge_litert"),
        (lambda: profile_flatbuffers({}, pathlib.Path("out")), "matplotlib"),
        (lambda: compare_flatbuffers({}, None), "ai_edge_litert"),
        (lambda: compare_models({}, None, "all", pathlib.Path("out")), "ai_edge_litert"),
        (lambda: measure_latency_table("table.json", None), "ai_edge_litert"),
        (lambda: compress("m.keras", "digits", budget="1MB", steps=1, workdir="w"), "pymoo"),
        (lambda: compress("m.keras", "digits", budget="1MB", steps=1, workdir="w"), "matplotlib"),
    ],
)
def test_other_functions_miss_them_before_they_work(function, missing, without):
    without(missing)
    with pytest.raises(MissingExtraError, match=rf"qfa_tf\[{EXTRAS[missing][1]}\]"):
        function()


def test_an_export_misses_them_before_it_builds(run_copy, without, console):
    without("ai_edge_litert")
    with pytest.raises(MissingExtraError, match=r"qfa_tf\[litert\]"):
        export_model(run_copy, console=console)


def test_memory_is_that_of_machine_and_control_group(tmp_path, monkeypatch):
    for name, file in (("_MEMINFO", "meminfo"), ("_CGROUP", "group")):
        monkeypatch.setattr(memory, name, tmp_path / file)
    assert memory.free_memory() is None
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:   2000 kB\n")
    assert memory.free_memory() == 2_048_000
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "memory.max").write_text("max\n")
    assert memory.free_memory() == 2_048_000
    (tmp_path / "group" / "memory.max").write_text("1500000\n")
    (tmp_path / "group" / "memory.current").write_text("500000\n")
    assert memory.free_memory() == 1_000_000


def test_too_little_memory_is_said(tiny_space, monkeypatch, console):
    """Its stem alone has 4 channels at 8 pixels; images count, each as much as the next."""
    ten, twenty = (memory.needed_memory(tiny_space, size, 0) for size in (10, 20))
    assert twenty == 2 * ten > 10 * 4 * 4 * 8 * 8
    monkeypatch.setattr(warning, "free_memory", lambda: 1_000_000_000)
    warning.warn_of_memory(1_000_000_000, 32, console)
    assert not console.file.getvalue()
    warning.warn_of_memory(2_500_000_000, 32, console)
    told = "a step of 32 images takes about 2.5 GB of memory, and 1.0 GB are free"
    assert told in console.file.getvalue()


def test_too_small_a_disk_is_said_before_the_first_step(config, tmp_path, monkeypatch, console):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10_000, 9_000, 1_000))
    workdir = Workdir(tmp_path / "run")
    with pytest.raises(WorkdirError, match=r"has 0 MB of free space, and checkpoints.*--workdir"):
        train(config, workdir, console)
    assert not workdir.training_csv.exists()
    require_space(tmp_path, 1_000, "files")
    with pytest.raises(WorkdirError, match="files take about"):
        require_space(tmp_path, 1_001, "files")


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(WorkdirError, match=r"cannot be written. Make it writable"):
        require_space(tmp_path, 1, "files")


def test_an_export_is_refused_before_it_builds_where_it_cannot_write(
    run_copy, tiny_space, tmp_path, monkeypatch, console
):
    monkeypatch.setattr("qfa_tf.runs.exporting.building.restore", None)  # what building begins with
    chosen = tmp_path / "chosen.json"
    write_architecture(tiny_space.smallest(bits=4), chosen)
    run_copy.models.write_text("no folder")
    with pytest.raises(WorkdirError, match=r"models cannot be written. Make it writable"):
        export_model(run_copy, architecture_file=chosen, console=console)


@pytest.mark.parametrize(
    "function",
    [
        lambda out: benchmark_flatbuffers([], out),
        lambda out: profile_flatbuffers({}, out),
        lambda out: compare_models({}, None, "all", out),
    ],
)
def test_benchmarks_are_refused_before_they_measure_where_they_cannot_write(
    function, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WorkdirError, match=r"file cannot be written"):
        function(tmp_path / "file" / "reports")
    require_writable(tmp_path / "new" / "reports")  # can be made
    assert not (tmp_path / "new").exists()


def test_a_recipe_to_train_with_needs_no_search_section(config, tmp_path):
    del config["search"]
    complete = complete_config(config)
    assert complete.search.objective == "mflops_8bit"
    settings = SearchSettings.from_config(complete)
    assert settings.constraints == ()
    workdir = Workdir(tmp_path / "run")
    workdir.claim(config)
    assert workdir.config().search.population == complete.search.population


def test_a_longer_training_is_refused_with_the_way_to_go_on(config, tmp_path):
    workdir = Workdir(tmp_path / "run")
    workdir.claim(config)
    config.training.stage_steps = (3, 2, 30)
    with pytest.raises(WorkdirError, match=rf"initial_checkpoint={workdir}"):
        workdir.claim(config)
    config.training.stage_steps = (3, 2, 3)
    config.training.seed = 7
    with pytest.raises(WorkdirError) as caught:
        workdir.claim(config)
    assert "initial_checkpoint" not in str(caught.value)
