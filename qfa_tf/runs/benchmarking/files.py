"""What benchmarks leave in a workdir: reports, raw logs and profiles by model and device."""

import json
import pathlib
import re

from qfa_tf.runs.workdir import Workdir
from quantize_configs.files import write_text
from tflite_tools.benchmarking.options import BenchmarkOptions


def benchmark_key(device: str, options: BenchmarkOptions) -> str:
    """Identifies a benchmark of a model, such as "host-1" or "adb:0A1B-4-gpu"."""
    delegate = "" if options.delegate == "cpu" else f"-{options.delegate}"
    return f"{device}-{options.num_threads}{delegate}"


def benchmark_path(folder: pathlib.Path, name: str, key: str, suffix: str) -> pathlib.Path:
    """Where a file of a benchmark stands: `FOLDER/NAME/KEY.SUFFIX`."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", key)
    return folder / name / f"{safe}.{suffix}"


def folder_of(workdir: Workdir) -> pathlib.Path:
    """The folder of the benchmarks of a run."""
    return workdir.path / "benchmarks"


def save_report(folder: pathlib.Path, name: str, key: str, report) -> pathlib.Path:
    """Writes a report and the raw log of the device, and returns the path of the report.

    Raises:
      FileWriteError: A file cannot be written.
    """
    path = benchmark_path(folder, name, key, "json")
    write_text(path.with_suffix(".log"), report.log + "\n")
    write_text(path, report.to_json() + "\n")
    return path


def save_profile(folder: pathlib.Path, name: str, key: str, profile, group) -> pathlib.Path:
    """Writes a profile as JSON, as text and as a picture, and returns the path of the text.

    Raises:
      FileWriteError: A file cannot be written.
      ImportError: Without matplotlib.
    """
    path = benchmark_path(folder, name, key, "profile.json")
    by_site = {site: round(value, 3) for site, value in profile.by_layer(group).items()}
    content = {**profile.as_dict(), "microseconds_by_site": by_site}
    write_text(path, json.dumps(content, indent=1) + "\n")
    text = path.with_suffix(".txt")
    write_text(text, profile.table(group) + "\n")
    profile.plot(path.with_suffix(".png"), group)
    return text
