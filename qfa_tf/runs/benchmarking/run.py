"""Latency of exported models on a device and the final table: what `apps/benchmark.py` does."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import rich.console

from qfa_tf.runs.benchmarking.files import (
    benchmark_key,
    folder_of,
    save_profile,
    save_report,
)
from qfa_tf.runs.errors import RunError
from qfa_tf.runs.exporting.budget import read_tables, with_latency
from qfa_tf.runs.exporting.records import ModelRecord, read_record, read_records
from qfa_tf.runs.exporting.table import print_models
from qfa_tf.runs.exporting.terms import broken_terms
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.requirements import require_packages, require_writable
from qfa_tf.runs.searching.folder import search_folder
from qfa_tf.runs.searching.reporting import refresh_page
from qfa_tf.runs.workdir import Workdir
from tflite_tools.benchmarking.options import BenchmarkOptions, DeviceFiles


def benchmark_models(
    workdir: Workdir,
    *,
    names: Sequence[str] = (),
    device: str = "host",
    options: BenchmarkOptions | None = None,
    files: DeviceFiles | None = None,
    again: bool = False,
    console: rich.console.Console | None = None,
) -> list[ModelRecord]:
    """Benchmarks models in turns, stores the reports in their records and prints the table of all.

    The report and the raw log of the device are kept in `WORKDIR/benchmarks/NAME` as well.

    Args:
      workdir: Of a run with exported models.
      names: Models, all by default.
      device: See `tflite_tools.benchmark`.
      options: How to measure.
      files: Programs and libraries for a phone.
      again: Whether to measure models again that have a report for this device, threads and
        delegate.
      console: For progress and the table.

    Raises:
      WorkdirError: There is no run.
      ModelRecordError: A model or its record is missing or damaged.
      DeviceError: The device cannot do it.
      FileWriteError: A file cannot be written.
    """
    require_packages("The benchmark", "ai_edge_litert", "flatbuffers")
    from tflite_tools.benchmarking.measurement import benchmark_all, open_device

    console = console or new_console()
    options = options or BenchmarkOptions()
    records, contents = _models(workdir, names)
    key = benchmark_key(device, options)
    missing = [name for name, record in records.items() if again or key not in record.benchmarks]
    if missing:
        for folder in (workdir.models, folder_of(workdir)):
            require_writable(folder)
        say(console, f"Measuring {_models_in_turns(missing, options)} on {device}.")
        print_delegation({name: contents[name] for name in missing}, options.delegate, console)
        with open_device(device, files) as opened:
            reports = benchmark_all({name: contents[name] for name in missing}, opened, options)
        for name, report in reports.items():
            records[name] = with_benchmark(workdir, records[name], key, report.as_dict())
            records[name].write(workdir)
            search = records[name].search
            if search is not None:
                refresh_page(workdir, search_folder(workdir, search))
            path = save_report(folder_of(workdir), name, key, report)
            say(console, f"{name}: {report}\nReport and log: {path}")
            for term in broken_terms(records[name].budget):
                say(console, f"Warning: {name}: {term}", style="bold red")
    print_models(list(records.values()), key, console)
    return list(records.values())


def with_benchmark(
    workdir: Workdir, record: ModelRecord, key: str, report: Mapping[str, Any]
) -> ModelRecord:
    """A record with a report, and with the latencies of its budget that this measured."""
    budget = record.budget
    if record.search is not None and budget:
        request = search_folder(workdir, record.search).request() or {}
        tables = read_tables(request.get("latency_tables", ()))
        budget = with_latency(budget, key, report, tables)
    benchmarks = {**record.benchmarks, key: report}
    return dataclasses.replace(record, benchmarks=benchmarks, budget=budget)


def benchmark_flatbuffers(
    paths: Iterable[str | os.PathLike],
    output: str | os.PathLike,
    *,
    device: str = "host",
    options: BenchmarkOptions | None = None,
    files: DeviceFiles | None = None,
    console: rich.console.Console | None = None,
) -> dict:
    """Benchmarks .tflite files of any origin in turns and returns the reports by path.

    Args:
      paths: Files.
      output: Folder for reports and logs.
      device: See `tflite_tools.benchmark`.
      options: How to measure.
      files: Programs and libraries for a phone.
      console: For progress.

    Raises:
      RunError: There is no such file.
      DeviceError: The device cannot do it.
      FileWriteError: A file cannot be written.
      MissingExtraError: LiteRT is not installed.
    """
    require_packages("The benchmark", "ai_edge_litert", "flatbuffers")
    from tflite_tools.benchmarking.measurement import benchmark_all, open_device

    console = console or new_console()
    options = options or BenchmarkOptions()
    contents = read_flatbuffers(paths)
    require_writable(pathlib.Path(output))
    say(console, f"Measuring {_models_in_turns(contents, options)} on {device}.")
    print_delegation(contents, options.delegate, console)
    with open_device(device, files) as opened:
        reports = benchmark_all(contents, opened, options)
    key = benchmark_key(device, options)
    for path, report in reports.items():
        saved = save_report(pathlib.Path(output), pathlib.Path(path).stem, key, report)
        say(console, f"{path}: {report}\nReport and log: {saved}")
    return reports


def profile_flatbuffers(
    contents: dict[str, bytes],
    output: pathlib.Path,
    *,
    device: str = "host",
    options: BenchmarkOptions | None = None,
    files: DeviceFiles | None = None,
    console: rich.console.Console | None = None,
) -> dict:
    """Measures where the time of models goes, by operator and site; returns profiles by name.

    Args:
      contents: Flatbuffers by name.
      output: Folder for the tables and pictures.
      device: See `tflite_tools.benchmark`.
      options: How to measure.
      files: Programs and libraries for a phone.
      console: For progress.

    Raises:
      DeviceError: The device cannot do it.
      FileWriteError: A file cannot be written.
      MissingExtraError: LiteRT or matplotlib is not installed.
    """
    require_packages("The profile", "ai_edge_litert", "flatbuffers", "matplotlib")
    from tflite_tools.benchmarking.measurement import open_device
    from tflite_tools.benchmarking.profile_report import PROFILER
    from tflite_tools.benchmarking.profiling import profile

    console = console or new_console()
    options = options or BenchmarkOptions()
    key = benchmark_key(device, options)
    found = {}
    require_writable(output)
    say(console, f"Profiling {len(contents)} model(s) on {device}.")
    with open_device(device, files) as opened:
        for name, content in contents.items():
            found[name] = profile(content, opened, options)
        if len({one.source for one in found.values()}) > 1:
            # Times of two methods cannot be compared: the coarser one goes.
            say(console, "The profiler is too coarse for a model; each operator is timed alone.")
            for name, content in contents.items():
                if found[name].source == PROFILER:
                    found[name] = profile(content, opened, options, use_profiler=False)
        for name in contents:
            saved = save_profile(output, pathlib.Path(name).stem, key, found[name], site_of_layer)
            say(console, f"{name}\n{found[name].table(site_of_layer)}\nWrote {saved}")
    return found


def compare_flatbuffers(
    contents: dict[str, bytes],
    images_of: Callable[[str, bytes], tuple],
    *,
    device: str = "host",
    delegate: str = "cpu",
    files: DeviceFiles | None = None,
    console: rich.console.Console | None = None,
) -> dict:
    """Compares outputs of a device with those of this computer; returns comparisons by name.

    Args:
      contents: Flatbuffers by name.
      images_of: From name and flatbuffer to images (as the model takes them) and labels or None.
      device: See `tflite_tools.benchmark`.
      delegate: What executes the model there.
      files: Programs and libraries for a phone.
      console: For progress.

    Raises:
      DeviceError: The device cannot do it.
      RunError: A device that promises equal bits has others.
      MissingExtraError: LiteRT is not installed.
    """
    require_packages("The comparison", "ai_edge_litert", "flatbuffers")
    from tflite_tools.benchmarking.measurement import open_device
    from tflite_tools.verification.devices import compare_device

    console = console or new_console()
    found = {}
    say(console, f"Comparing {len(contents)} model(s) on {device} with this computer.")
    with open_device(device, files) as opened:
        for name, content in contents.items():
            images, labels = images_of(name, content)
            found[name] = compare_device(content, opened, images, delegate=delegate, labels=labels)
            say(console, f"{name}: {found[name]}")
    broken = [name for name, comparison in found.items() if not comparison.keeps_promise]
    if broken:
        raise RunError(
            f"The outputs of {', '.join(broken)} differ in bits from those here, which they must "
            f"not with the delegate {delegate!r}."
        )
    return found


def _models_in_turns(models: Collection[str], options: BenchmarkOptions) -> str:
    return f"{len(models)} model(s) in {options.rounds} turn(s)"


def read_flatbuffers(paths: Iterable[str | os.PathLike]) -> dict[str, bytes]:
    """Bytes of .tflite files by path.

    Raises:
      RunError: There is no such file.
    """
    contents = {}
    for path in map(pathlib.Path, paths):
        if not path.is_file():
            raise RunError(f"There is no model {path}.")
        contents[str(path)] = path.read_bytes()
    return contents


def model_contents(workdir: Workdir, names: Sequence[str] = ()) -> dict[str, bytes]:
    """Flatbuffers of the exported models of a run by name, all by default.

    Raises:
      WorkdirError: There is no run.
      ModelRecordError: A model or its record is missing or damaged.
    """
    return _models(workdir, names)[1]


def images_of_model(workdir: Workdir, name: str, content: bytes, count: int) -> tuple:
    """Test images of a run as one of its models takes them, and their labels.

    Raises:
      RunError: The data set cannot be loaded.
    """
    from qfa_tf.runs.exporting.promises import resized_images
    from qfa_tf.runs.run_data import open_data
    from tflite_tools.verification.model_inputs import as_inputs

    record = read_record(workdir, name)
    test = open_data(workdir, workdir.config()).test
    compared = test.take(np.arange(min(count, len(test))))
    images = resized_images(compared.read_images(), record.architecture)
    return as_inputs(content, images), compared.labels


def export_front(
    workdir: Workdir,
    console: rich.console.Console,
    *,
    search: str | None = None,
    stale: str = "refuse",
) -> list[str]:
    """Exports the subnets of the front that are not exported yet; returns all their names.

    Args:
      workdir: Of a run.
      console: For progress.
      search: Name of the search; the only or the newest one by default.
      stale: See `export_model`.

    Raises:
      WorkdirError: There has been no such search, or it is of other weights.
      RunError: A subnet cannot be exported.
    """
    from qfa_tf.runs.exporting.run import export_model
    from qfa_tf.runs.searching.folder import find_search

    workdir.config()
    folder = find_search(workdir, search)
    return [
        export_model(workdir, index=i, search=folder.name, stale=stale, console=console).name
        for i in range(len(folder.result().front))
    ]


def site_of_layer(layer: str) -> str:
    """The site of the architecture, or its squeeze-excite, that a layer of a file belongs to."""
    block, found, _ = layer.partition(".se.")
    return f"{block}.se" if found else layer


def print_delegation(
    contents: dict[str, bytes], delegate: str, console: rich.console.Console
) -> None:
    """Says before anything runs which layers the delegate will leave to the CPU."""
    from tflite_tools.benchmarking.delegates import check_delegate

    for name, content in contents.items():
        say(console, f"{name}: {check_delegate(content, delegate)}")


def _models(workdir: Workdir, names: Sequence[str]):
    """Records and flatbuffers by name."""
    workdir.config()
    records = [read_record(workdir, name) for name in names] or read_records(workdir)
    contents = {record.name: record.check_file(workdir).read_bytes() for record in records}
    return {record.name: record for record in records}, contents
