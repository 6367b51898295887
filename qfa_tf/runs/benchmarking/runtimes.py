"""Models on every runtime: the table of `apps/benchmark.py --runtimes`."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import rich.console
import rich.table

from qfa_tf.runs.benchmarking.files import benchmark_path
from qfa_tf.runs.exporting.records import read_record
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.requirements import require_packages, require_writable
from qfa_tf.runs.searching.folder import search_folder
from qfa_tf.runs.searching.reporting import refresh_page
from qfa_tf.runs.workdir import Workdir
from quantize_configs.files import write_text
from tflite_tools.runtimes.comparison import compare_runtimes
from tflite_tools.runtimes.processes import DEFAULT_LIMIT
from tflite_tools.runtimes.report import RuntimesReport

KEY = "runtimes"


def compare_models(
    contents: dict[str, bytes],
    images_of: Callable[[str, bytes], tuple],
    runtimes: str,
    output: pathlib.Path,
    *,
    workdir: Workdir | None = None,
    limit: float = DEFAULT_LIMIT,
    console: rich.console.Console | None = None,
) -> dict[str, RuntimesReport]:
    """Runs each model on runtimes, prints a table and stores it; returns the reports by name.

    Args:
      contents: Flatbuffers by name.
      images_of: From name and flatbuffer to images (as the model takes them) and labels or None.
      runtimes: Names with commas, or "all".
      output: Folder of the reports.
      workdir: Whose models they are, to store the table in their records and in the pages of the
        searches that chose them.
      limit: Seconds for one run of a runtime.
      console: For progress and the table.

    Raises:
      UnknownRuntimeError: There is no such runtime.
      FileWriteError: A file cannot be written.
      MissingExtraError: LiteRT is not installed.
    """
    require_packages("The comparison", "ai_edge_litert", "flatbuffers")
    require_writable(output)
    console = console or new_console()
    say(console, f"Running {len(contents)} model(s) on these runtimes: {runtimes}.")
    reports = {}
    for name, content in contents.items():
        images, labels = images_of(name, content)
        report = compare_runtimes(
            content,
            images,
            labels,
            runtimes=runtimes,
            limit=limit,
            progress=functools.partial(_say_runtime, console, name),
        )
        path = benchmark_path(output, pathlib.Path(name).stem, KEY, "json")
        write_text(path, report.to_json() + "\n")
        if workdir is not None:
            record = read_record(workdir, name)
            dataclasses.replace(record, runtimes=report.as_dict()).write(workdir)
            if record.search is not None:
                refresh_page(workdir, search_folder(workdir, record.search))
        print_report(name, report, console)
        say(console, f"Wrote {path}")
        reports[name] = report
    return reports


def _say_runtime(console: rich.console.Console, name: str, runtime: str) -> None:
    say(console, f"{name} on {runtime}")


def print_report(name: str, report: RuntimesReport, console: rich.console.Console) -> None:
    """Prints the table of one model; what went wrong in a runtime follows it in full."""
    rows = report.rows()
    titles = [title for title in rows[0] if title != "notes"]
    table = rich.table.Table(
        title=f"{name}, {report.images} image(s)",
        title_justify="left",
        box=None,  # frames are too wide for terminals of 80 columns
        padding=(0, 1, 0, 0),
    )
    for title in titles:
        is_short = title in (titles[0], titles[-1])
        table.add_column(title, justify="left" if title == titles[0] else "right", no_wrap=is_short)
    for row in rows:
        table.add_row(*(row[title] for title in titles))
    console.print(table)
    for row in rows:
        say(console, f"{row['runtime']}: {row['notes']}")
