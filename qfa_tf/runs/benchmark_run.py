"""Latency of the models of a workdir and the final table: what `apps/benchmark.py` does."""

import dataclasses

import rich.console

from qfa_tf.runs.messages import say
from qfa_tf.runs.model_records import ModelRecord, read_record, read_records
from qfa_tf.runs.model_table import print_models
from qfa_tf.runs.workdir import Workdir


def benchmark_models(
    workdir: Workdir,
    *,
    names: tuple[str, ...] = (),
    device: str = "host",
    num_threads: int = 1,
    again: bool = False,
    console: rich.console.Console | None = None,
) -> list[ModelRecord]:
    """Benchmarks models, stores the reports in their records and prints the table of all of them.

    Args:
      workdir: Of a run with exported models.
      names: Models, all by default.
      device: See `tflite_tools.benchmark`.
      num_threads: CPU threads.
      again: Whether to measure models again that have a report for this device and threads.
      console: For progress and the table.

    Raises:
      WorkdirError: There is no run.
      ModelRecordError: A model or its record is missing or damaged.
      FileWriteError: A record cannot be written.
    """
    import tflite_tools

    console = console or rich.console.Console()
    workdir.config()
    records = [read_record(workdir, name) for name in names] or read_records(workdir)
    key = f"{device}-{num_threads}"
    measured = []
    for record in records:
        path = record.check_file(workdir)
        if again or key not in record.benchmarks:
            report = tflite_tools.benchmark(path, device=device, num_threads=num_threads)
            say(console, f"{record.name}: {report}")
            benchmarks = {**record.benchmarks, key: report.as_dict()}
            record = dataclasses.replace(record, benchmarks=benchmarks)
            record.write(workdir)
        measured.append(record)
    print_models(measured, key, console)
    return measured
