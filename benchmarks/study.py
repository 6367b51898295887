"""Trains and measures every run of docs/study.md, then writes its CSV files, tables and plots.

    python benchmarks/study.py

Each run is a workdir under --workdir, trained by apps/train.py with one thread, several runs side
by side; killed and started again, this program goes on where it was. A training that diverges is a
result too. The QFA and the OQA supernets are searched with equally many evaluations. All rows go
into benchmarks/results/study; benchmarks/study_report.py makes tables and plots of them.
"""

import argparse
import concurrent.futures
import csv
import datetime
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import results_file
import rich.progress
import study_report
from study_runs import CONFIG, RECIPE, RESULT_FILE, ROOT, Run, all_runs, fixed_subnets

from qfa_tf.runs import Workdir, write_architecture
from qfa_tf.runs.searching.folder import finished_searches
from quantize_configs.files import write_text
from tflite_tools.benchmarking.measurement import host_processor

DIVERGED, OUTCOME_FILE = "diverged", "outcome.json"
THREADS = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
EVALUATIONS = 60
"""Of each seed's search: all on the mixed supernet, or a third on each of OQA's three."""
SEARCHED = {"qfa": EVALUATIONS, "oqa_w4": EVALUATIONS // 3, "oqa_w3": EVALUATIONS // 3}
SEARCHED["oqa_w2"] = EVALUATIONS // 3


class Study:
    """Runs programs in workdirs.

    Args:
      folder: Of all workdirs.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._broken = threading.Event()

    def workdir(self, run: Run) -> Workdir:
        """Of one run."""
        return Workdir(self._folder / run.folder)

    def complete(self, run: Run) -> None:
        """Trains, measures and searches, as far as that has not been done."""
        if self.is_complete(run):
            return
        text = self._train(run)
        if text != DIVERGED:
            self._call(run, "benchmarks/study_measurement.py")
            if run.name in SEARCHED and not finished_searches(self.workdir(run)):
                settings = f"--strategy=nsga2 --evaluations={SEARCHED[run.name]} --workers=0"
                self._call(run, "apps/search.py", *settings.split(), "--nosensitivity")
        write_text(self._file(run, OUTCOME_FILE), json.dumps({"outcome": text}) + "\n")

    def is_complete(self, run: Run) -> bool:
        """Whether nothing is left to do."""
        return self._file(run, OUTCOME_FILE).is_file()

    def rows(self, run: Run) -> list[dict]:
        """What `study_measurement` wrote."""
        path = self._file(run, RESULT_FILE)
        return json.loads(path.read_text()) if path.is_file() else []

    def summary(self, run: Run) -> dict:
        """A row about the training itself."""
        seconds, steps = 0.0, 0
        if self.workdir(run).training_csv.is_file():
            with open(self.workdir(run).training_csv, newline="", encoding="utf-8") as file:
                epochs = list(csv.DictReader(file))
            seconds = sum(float(epoch["seconds"]) for epoch in epochs)
            steps = int(epochs[-1]["step"]) if epochs else 0
        outcome = self._file(run, OUTCOME_FILE)
        return {
            "run": run.name,
            "seed": run.seed,
            "subnet": "" if run.subnet is None else run.subnet,
            "parent": run.parent.name if run.parent else "",
            "outcome": json.loads(outcome.read_text())["outcome"],
            "steps": steps,
            "training_seconds": round(seconds),
            "date": datetime.date.fromtimestamp(outcome.stat().st_mtime).isoformat(),
            "cpu": host_processor(),
            "threads": 1,
        }

    def _file(self, run: Run, name: str) -> pathlib.Path:
        return self.workdir(run).path / name

    def _train(self, run: Run) -> str:
        """Returns "trained" or "diverged"."""
        workdir = self.workdir(run)
        flags = [f"--config={ROOT / CONFIG}:{run.name}-{run.seed}"]
        if run.parent is not None:
            parent = self.workdir(run.parent).path
            flags.append(f"--config.training.initial_checkpoint={parent}")
        if run.subnet is not None:
            workdir.path.mkdir(parents=True, exist_ok=True)
            file = self._folder / f"subnet-{run.subnet}.json"
            write_architecture(fixed_subnets()[run.subnet], file)
            flags.append(f"--architecture={file}")
        done = self._start(run, "apps/train.py", *flags)
        if done.returncode and "diverged" in done.stderr:
            return DIVERGED
        self._check(run, "apps/train.py", done)
        return "trained"

    def _call(self, run: Run, program: str, *flags: str) -> None:
        self._check(run, program, self._start(run, program, *flags))

    def _start(self, run: Run, program: str, *flags: str) -> subprocess.CompletedProcess:
        if self._broken.is_set():
            raise RuntimeError(f"{run.folder} was not started, because another run failed.")
        command = [sys.executable, ROOT / program, f"--workdir={self.workdir(run).path}", *flags]
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **THREADS}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def _check(self, run: Run, program: str, done: subprocess.CompletedProcess) -> None:
        if done.returncode:
            self._broken.set()
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise RuntimeError(f"{program} failed on {run.folder} ({done.returncode}): {last}")


def main() -> None:
    """Runs everything that has not been run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("workdir/study"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="*", choices=sorted(RECIPE.RUNS), help="these runs alone")
    options = parser.parse_args()
    study, runs = Study(options.workdir), all_runs(options.seeds)
    if options.only:
        runs = [run for run in runs if run.name in options.only]
    execute(study, runs, options.processes)
    write_results(study, runs)
    study_report.main()


def execute(study: Study, runs: list[Run], processes: int) -> None:
    """Completes runs, those with a parent after it, several at a time."""
    began = time.perf_counter()
    columns = rich.progress.Progress.get_default_columns()
    with (
        rich.progress.Progress(*columns, rich.progress.TimeElapsedColumn()) as progress,
        concurrent.futures.ThreadPoolExecutor(processes) as pool,
    ):
        bar = progress.add_task("runs", total=len(runs))
        waiting, going = list(runs), {}
        while waiting or going:
            busy = {*waiting, *going.values()}
            for run in [run for run in waiting if run.parent not in busy][: processes - len(going)]:
                waiting.remove(run)
                going[pool.submit(study.complete, run)] = run
            done, _ = concurrent.futures.wait(going, return_when="FIRST_COMPLETED")
            for future in done:
                run = going.pop(future)
                future.result()
                progress.console.print(f"{run.folder} {time.perf_counter() - began:.0f} s")
                progress.advance(bar)


def write_results(study: Study, runs: list[Run]) -> None:
    """Writes the rows of all runs that are finished."""
    finished = [run for run in runs if study.is_complete(run)]
    study_report.RESULTS.mkdir(parents=True, exist_ok=True)
    results_file.write("study/subnets", [row for run in finished for row in study.rows(run)])
    results_file.write("study/runs", [study.summary(run) for run in finished])
    results_file.write("study/search", [row for run in finished for row in _searched(study, run)])


def _searched(study: Study, run: Run) -> list[dict]:
    """The subnets that the search of a run measured."""
    searches = finished_searches(study.workdir(run))
    if run.name not in SEARCHED or not searches:
        return []
    return [
        {
            "run": run.name,
            "seed": run.seed,
            "mflops_8bit": round(candidate.costs["mflops_8bit"], 5),
            "accuracy": round(100 * candidate.accuracy, 3),
        }
        for candidate in searches[-1].result().candidates
    ]


if __name__ == "__main__":
    main()
