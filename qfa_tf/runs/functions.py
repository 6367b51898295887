"""The programs as functions: a workdir is a path, a recipe a name, settings are keywords."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich.console
from ml_collections import ConfigDict

from qfa_tf.runs.config import with_defaults
from qfa_tf.runs.config_fields import FIELDS
from qfa_tf.runs.errors import ConfigError
from qfa_tf.runs.recipes import load_recipe
from qfa_tf.runs.workdir import Workdir

if TYPE_CHECKING:
    from qfa_tf.runs.exporting.records import ModelRecord
    from qfa_tf.runs.finetuning_run import FineTuning
    from qfa_tf.search import SearchResult


def train(
    workdir: str | os.PathLike,
    recipe: str | os.PathLike | ConfigDict,
    *,
    architecture_file: str | os.PathLike | None = None,
    strategy: str = "default",
    changed_data: bool = False,
    skip_damaged: bool = False,
    native_kernels: str = "auto",
    console: rich.console.Console | None = None,
    **overrides: Any,
) -> None:
    """Trains a supernet in a workdir, or continues to; the program `qfa-train`.

    Args:
      workdir: Folder of the run, made if missing.
      recipe: A name such as "digits", the path of a Python file with `get_config()`, or a config.
      architecture_file: Trains this one subnet alone.
      strategy: "default", "mirrored" or "multi_worker".
      changed_data: Whether to go on with other images than the workdir was made from.
      skip_damaged: Whether to go on without image files that cannot be read.
      native_kernels: "auto", "on" or "off"; see `runs.train`.
      console: For progress.
      **overrides: Keys of the config by their last name, such as `learning_rate=0.1`; with their
        section where two have that name, as in `training__seed=1`.

    Raises:
      ConfigError, WorkdirError: The recipe, a key or the workdir is refused.
      CheckpointError, CheckpointWriteError, DivergedError, StoppedError: See `runs.train`.

    Example:
      qfa_tf.train("workdir/digits", "digits", stage_steps=(75, 150, 500))
    """
    from qfa_tf.runs.architecture_files import architecture_text, read_architecture
    from qfa_tf.runs.training.run import train as run

    config = load_recipe(recipe) if not isinstance(recipe, ConfigDict) else recipe
    config = with_overrides(config, overrides)
    if architecture_file is not None:
        config.training.architecture = architecture_text(read_architecture(architecture_file))
    run(
        config,
        Workdir(workdir),
        console,
        strategy=strategy,
        changed_data=changed_data,
        skip_damaged=skip_damaged,
        native_kernels=native_kernels,
    )


def search_subnets(
    workdir: str | os.PathLike,
    *,
    name: str | None = None,
    workers: int | None = None,
    backend: str = "processes",
    predictor_of: str | None = None,
    console: rich.console.Console | None = None,
    **settings: Any,
) -> "SearchResult":
    """Searches the supernet of a workdir under a budget; the program `qfa-search`.

    Args:
      workdir: Of a trained supernet.
      name: Of the search; see `runs.search_workdir`.
      workers: Processes that evaluate; one per core by default, 0 for this one.
      backend: "processes" or "ray".
      predictor_of: See `runs.search_workdir`.
      console: For progress.
      **settings: Fields of `runs.SearchSettings`; what is left out comes from the config.

    Returns:
      All candidates with their front and the chosen one.

    Raises:
      RunError and others: See `runs.search_workdir`.

    Example:
      qfa_tf.search_subnets("workdir/digits", constraints=["tflite_bytes<=30000"], max_bits=4)
    """
    from qfa_tf.runs.searching.run import default_workers, search_workdir
    from qfa_tf.runs.searching.settings import SearchSettings

    opened = Workdir(workdir)
    return search_workdir(
        opened,
        SearchSettings.from_config(opened.config(), **settings),
        console,
        name=name,
        predictor_of=predictor_of,
        workers=default_workers() if workers is None else workers,
        backend=backend,
    )


def export(
    workdir: str | os.PathLike,
    *,
    index: int | None = None,
    architecture_file: str | os.PathLike | None = None,
    search: str | None = None,
    stale: str = "refuse",
    name: str | None = None,
    page: bool = False,
    console: rich.console.Console | None = None,
    **options: Any,
) -> "ModelRecord":
    """Exports a subnet as a verified `.tflite` file; the program `qfa-export`.

    Args:
      workdir: Of a trained supernet.
      index: Which one of the front, cheapest first; by default the chosen one.
      architecture_file: Which one instead.
      search: Name of the search; the only or the newest one by default.
      stale: "ok" to take a subnet of a search of other weights, after measuring it anew.
      name: Of the files.
      page: Whether to write a page beside the file that runs it in a browser.
      console: For progress.
      **options: Fields of `runs.ExportOptions`, such as `input_type="float32"`.

    Returns:
      What stands in the `.json` beside the file.

    Raises:
      RunError and others: See `runs.export_model`.
    """
    from qfa_tf.runs.exporting.options import ExportOptions
    from qfa_tf.runs.exporting.run import export_model

    return export_model(
        Workdir(workdir),
        index=index,
        architecture_file=architecture_file,
        search=search,
        stale=stale,
        name=name,
        options=ExportOptions(**options),
        page=page,
        console=console,
    )


def finetune(
    workdir: str | os.PathLike,
    *,
    index: int | None = None,
    architecture_file: str | os.PathLike | None = None,
    search: str | None = None,
    stale: str = "refuse",
    name: str | None = None,
    epochs: int = 4,
    learning_rate: float | None = None,
    native_kernels: str = "auto",
    console: rich.console.Console | None = None,
) -> "FineTuning":
    """Trains a chosen subnet further, alone; the program `qfa-finetune`.

    Args:
      workdir: Of a trained supernet.
      index: Which one of the front, cheapest first; by default the chosen one.
      architecture_file: Which one instead.
      search: Name of the search; the only or the newest one by default.
      stale: "ok" to take a subnet of a search of other weights.
      name: Of the new workdir, in `finetuned/` of this one.
      epochs: As long as those of the supernet.
      learning_rate: Its largest value; a tenth of that of the supernet by default.
      native_kernels: "auto", "on" or "off"; see `runs.train`.
      console: For progress.

    Returns:
      The new workdir and the accuracies before and after, on the same images.

    Raises:
      RunError and others: See `runs.finetune`.
    """
    from qfa_tf.runs.finetuning_run import finetune as run

    return run(
        Workdir(workdir),
        index=index,
        architecture_file=architecture_file,
        search=search,
        stale=stale,
        name=name,
        epochs=epochs,
        learning_rate=learning_rate,
        native_kernels=native_kernels,
        console=console,
    )


def benchmark(
    workdir: str | os.PathLike,
    *,
    models: Sequence[str] = (),
    device: str = "host",
    again: bool = False,
    console: rich.console.Console | None = None,
    **options: Any,
) -> "list[ModelRecord]":
    """Measures the latency of exported models; the program `qfa-benchmark`.

    Args:
      workdir: Of a run with exported models.
      models: Their names, all by default.
      device: "host", or "adb:SERIAL" for a phone.
      again: Whether to measure again what was measured.
      console: For progress and the table.
      **options: Fields of `tflite_tools.BenchmarkOptions`, such as `num_threads=2`.

    Returns:
      The records of the models, with the reports in `benchmarks`.

    Raises:
      WorkdirError, ModelRecordError, DeviceError: See `runs.benchmark_models`.
    """
    from qfa_tf.runs.benchmarking.run import benchmark_models
    from tflite_tools.benchmarking.options import BenchmarkOptions

    return benchmark_models(
        Workdir(workdir),
        names=models,
        device=device,
        options=BenchmarkOptions(**options),
        again=again,
        console=console,
    )


def with_overrides(config: ConfigDict, overrides: dict[str, Any]) -> ConfigDict:
    """A copy of a config with other values.

    Args:
      config: Of a run; keys may be left out.
      overrides: Values by the last name of a key, or by section and name joined by "__".

    Raises:
      ConfigError: There is no such key, or there are several.
    """
    changed = with_defaults(config)
    for name, value in overrides.items():
        wanted = name.replace("__", ".")
        keys = [key for key in FIELDS if wanted in (key, key.rpartition(".")[2])]
        if len(keys) != 1:
            what = "There is no" if not keys else f"{' and '.join(keys)} are each a"
            advice = "docs/training.md has all keys" if not keys else "write section__name"
            raise ConfigError(f"{what} key {name!r} of a config; {advice}.")
        section, _, last = keys[0].rpartition(".")
        with changed.ignore_type():
            (changed[section] if section else changed)[last] = value
    return changed
