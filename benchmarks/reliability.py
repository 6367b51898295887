"""What a kill, a damaged file, a full disk, another clock and a second program do to a run.

    python benchmarks/reliability.py train search table finetune     # --kills=50 each
    python benchmarks/reliability.py flatbuffers genomes             # --mutations=10000
    python benchmarks/reliability.py disk clock twice

Every task adds or replaces its row in benchmarks/results/reliability.csv and ends with status 1
where something was lost. docs/reliability.md says what the columns mean.

A task that kills runs a tiny supernet of scikit-learn's digits in processes that are forked after
the imports and killed (SIGKILL) after a random part of the time that an uninterrupted run takes;
the next process goes on. When one ends by itself its result is compared with that of the
uninterrupted run, and a new run begins.
"""

import argparse
import collections
import contextlib
import csv
import dataclasses
import io
import json
import os
import pathlib
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
import rich.console
import tensorflow as tf
from ml_collections import ConfigDict

from qfa_tf.cost import LatencyTable
from qfa_tf.latency import TableSettings, measure_latency_table
from qfa_tf.runs import SearchSettings, Workdir, finetune, search_workdir, train
from qfa_tf.runs.checkpoints import newest
from qfa_tf.runs.errors import CheckpointWriteError, WorkdirError
from qfa_tf.runs.searching.folder import find_search
from qfa_tf.search import EvaluationStore, StoreWriteError
from qfa_tf.space import Head, SearchSpace, Stage, Stem
from quantize_configs.files import FileWriteError
from tflite_tools.benchmarking.options import BenchmarkOptions

KILLS = ("train", "search", "table", "finetune")
RESULTS = "reliability"
SPACE = SearchSpace(
    name="reliability",
    resolutions=(8,),
    stem=Stem(4, 3, 1, "relu6"),
    stages=(Stage(8, 2, (1,), (3,), (2, 3), "relu6"),),
    head=Head(16, None, "relu"),
    weight_bits=(4, 8),
    activation_bits=(4, 8),
    fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
    input_channels=1,
    num_classes=10,
    width_divisor=4,
)


def tiny_config() -> ConfigDict:
    """Twelve steps, a checkpoint after each, and a search of eight subnets."""
    training = {
        "batch_size": 32,
        "steps_per_epoch": 4,
        "stage_bits": ((32,), (4, 8)),
        "stage_steps": (4, 8),
        "learning_rate": 0.05,
        "warmup_steps": 2,
        "momentum": 0.9,
        "clip_norm": 5.0,
        "weight_decay": 1e-4,
        "random_subnets": 1,
        "distillation": "in_place",
        "label_smoothing": 0.1,
        "probe_epochs": 2,
        "checkpoint_minutes": 0.0,
        "seed": 3,
    }
    search = {
        "constraints": ("mflops_8bit<=0.03",),
        "objective": "mflops_8bit",
        "population": 4,
        "generations": 2,
        "max_bits": 8,
        "seed": 1,
    }
    space = ConfigDict(json.loads(SPACE.to_json()))
    data = {"name": "digits", "max_shift": 1, "calibration_batches": 3}
    return ConfigDict({"space": space, "data": data, "training": training, "search": search})


def silent() -> rich.console.Console:
    """A console whose output nobody reads."""
    return rich.console.Console(file=io.StringIO())


_WITH_TIMES = ("progress", "save_counter")
"""Variables of a checkpoint that hold seconds, and how often it was written."""


# What the killed programs do, and what of their work must be the same in the end.


def run_train(folder: pathlib.Path) -> None:
    """`apps/train.py`."""
    train(tiny_config(), Workdir(folder), silent())


def run_search(folder: pathlib.Path) -> None:
    """`apps/search.py --workers=0`."""
    workdir = Workdir(folder)
    search_workdir(workdir, SearchSettings.from_config(workdir.config()), silent())


def run_table(folder: pathlib.Path) -> None:
    """`apps/benchmark.py --table`."""
    measure_latency_table(
        folder / "table.json",
        SPACE,
        device="host",
        options=BenchmarkOptions(num_runs=2, min_seconds=0.002, warmup_runs=1, rounds=1),
        settings=TableSettings(passes=2, networks=3, checked=2),
        console=silent(),
    )


def run_finetune(folder: pathlib.Path) -> None:
    """`apps/finetune.py`."""
    finetune(Workdir(folder), epochs=2, name="tuned", console=silent())


def weights(folder: pathlib.Path) -> dict[str, bytes]:
    """All variables of the newest checkpoint and the logged figures, without times."""
    workdir = Workdir(folder)
    reader = tf.train.load_checkpoint(str(newest(workdir.checkpoints)))
    names = [
        name
        for name in reader.get_variable_to_shape_map()
        if not name.startswith(_WITH_TIMES) and "OBJECT_GRAPH" not in name
    ]
    found = {name: np.asarray(reader.get_tensor(name)).tobytes() for name in names}
    for path in (workdir.training_csv, workdir.probes_csv, workdir.quantizers_csv):
        with open(path, encoding="utf-8") as file:
            rows = [
                {key: value for key, value in row.items() if "second" not in key}
                for row in csv.DictReader(file)
            ]
        found[path.name] = json.dumps(rows).encode()
    probes = json.loads(workdir.probes_file.read_text(encoding="utf-8"))["accuracy"]
    return found | {"probes": json.dumps(probes).encode()}


def front(folder: pathlib.Path) -> dict[str, bytes]:
    """What the search wrote, and how often each subnet stands in the store."""
    workdir = Workdir(folder)
    with EvaluationStore(workdir.evaluations, SPACE) as store:
        count = len(store)
    pareto = json.loads(find_search(workdir).pareto_json.read_text(encoding="utf-8"))
    del pareto["checkpoint_key"], pareto["digest"]  # they follow from the bytes of the checkpoint
    return {"pareto": json.dumps(pareto).encode(), "evaluations": str(count).encode()}


def operators_of(folder: pathlib.Path) -> dict[str, bytes]:
    """The operators of the table; their times differ from run to run."""
    table = LatencyTable.load(folder / "table.json")
    return {"operators": repr(sorted(map(str, table.rows))).encode()}


def tuned(folder: pathlib.Path) -> dict[str, bytes]:
    """Weights and log of the tuned subnet."""
    return weights(folder / "finetuned" / "tuned")


@dataclasses.dataclass(frozen=True)
class Program:
    """A program that is killed.

    Attributes:
      run: Does its work in a folder, or goes on with it.
      outcome: What must be equal in the end.
      needs: Programs whose work stands in the folder before.
    """

    run: Callable[[pathlib.Path], None]
    outcome: Callable[[pathlib.Path], dict[str, bytes]]
    needs: tuple[str, ...] = ()


PROGRAMS = {
    "train": Program(run_train, weights),
    "search": Program(run_search, front, ("train",)),
    "table": Program(run_table, operators_of),
    "finetune": Program(run_finetune, tuned, ("train", "search")),
}


class Forked:
    """A process forked from this one, whose errors go to a file."""

    def __init__(self, function: Callable[..., None], *arguments: object):
        self._errors = tempfile.NamedTemporaryFile("w+", suffix=".txt")  # noqa: SIM115
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                function(*arguments)
                status = 0
            except BaseException:
                traceback.print_exc(file=self._errors)
                self._errors.flush()
            finally:
                os._exit(status)

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit status; None when it still runs after so many seconds."""
        while True:
            pid, status = os.waitpid(self.pid, 0 if seconds is None else os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() - self.began >= (seconds or 0.0):
                return None
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    @property
    def errors(self) -> str:
        """What it raised."""
        self._errors.seek(0)
        return self._errors.read()


def finished(function: Callable[..., None], *arguments: object) -> float:
    """Runs a function in a forked process to its end; returns the seconds."""
    process = Forked(function, *arguments)
    if process.wait() != 0:
        raise SystemExit(f"{function.__name__} failed without being killed:\n{process.errors}")
    return time.monotonic() - process.began


def kill_at_random(
    name: str, kills: int, minutes: float, seed: int, folder: pathlib.Path
) -> dict[str, object]:
    """Kills a program again and again, until so often or so long; what was lost."""
    program, rng = PROGRAMS[name], np.random.default_rng(seed)
    before = folder / "before"
    before.mkdir()
    for needed in program.needs:
        finished(PROGRAMS[needed].run, before)
    straight = folder / "straight"
    shutil.copytree(before, straight)
    seconds = finished(program.run, straight)
    wanted = program.outcome(straight)
    counts: collections.Counter[str] = collections.Counter()
    run = folder / "run"
    shutil.copytree(before, run)
    done, end = 0, time.monotonic() + 60 * minutes
    while done < kills and time.monotonic() < end:
        process = Forked(program.run, run)
        status = process.wait(rng.uniform(0.0, 1.0) * seconds)
        if status is None:
            process.kill()
            done += 1
            continue
        counts["refused"] += _judge(program, status, process, run, wanted, counts)
        shutil.rmtree(run)
        shutil.copytree(before, run)
        print(f"{name}: {done} kills, {dict(counts)}", flush=True)
    process = Forked(program.run, run)
    counts["refused"] += _judge(program, process.wait(), process, run, wanted, counts)
    return {
        "tried": done,
        "runs": counts["runs"],
        "same": counts["same"],
        "failed": counts["refused"] + counts["other"],
        "note": f"{seconds:.1f} s uninterrupted",
    }


def _judge(program, status, process, run, wanted, counts) -> int:
    """Compares a finished run; 1 where it ended with an error."""
    counts["runs"] += 1
    if status != 0:
        print(process.errors, file=sys.stderr)
        return 1
    found = program.outcome(run)
    different = sorted(key for key in wanted if found.get(key) != wanted[key])
    counts["other" if different else "same"] += 1
    if different:
        print(f"differs in {different[:5]}", file=sys.stderr)
    return 0


# Damaged input.


def mutate_flatbuffers(count: int, seed: int, folder: pathlib.Path) -> dict[str, object]:
    """Reads and runs mutated files; see `judge_flatbuffer` for what can become of one."""
    from byte_mutations import mutated
    from mutations import judge_flatbuffer, small_flatbuffer

    content, images = small_flatbuffer()
    rng = np.random.default_rng(seed)
    counts: collections.Counter[str] = collections.Counter()
    while sum(counts.values()) < count:
        batch = [mutated(content, rng) for _ in range(min(250, count - sum(counts.values())))]
        counts.update(judge_flatbuffer(content, images, batch, folder))
        print(f"flatbuffers: {dict(counts)}", flush=True)
    return {
        "tried": count,
        "runs": counts["equal"],
        "same": counts["sentence"] + counts["recognised"] + counts["equal"],
        "failed": counts["crash"] + counts["accepted"] + counts["traceback"],
        "note": ", ".join(f"{value:,} {key}" for key, value in sorted(counts.items())),
    }


def mutate_genomes(count: int, seed: int) -> dict[str, object]:
    """Decodes mutated genomes and JSON texts: a sentence, or a member of the space."""
    from mutations import judge_genomes

    counts = judge_genomes(SearchSpace.from_preset("mobilenet_v3_w1.2"), count, seed)
    return {
        "tried": count,
        "runs": counts["member"],
        "same": counts["sentence"] + counts["member"],
        "failed": counts["accepted"] + counts["traceback"],
        "note": ", ".join(f"{value:,} {key}" for key, value in sorted(counts.items())),
    }


# Full disk, clock, two at once.


def full_disk(folder: pathlib.Path) -> dict[str, object]:
    """Trains and searches with files that may not grow beyond ever larger limits, then without.

    RLIMIT_FSIZE makes writing fail as a full disk does. A process under the limit must end with a
    sentence; the one without must end with the result of an undisturbed run.
    """
    straight = folder / "straight"
    finished(run_train, straight)
    finished(run_search, straight)
    wanted = weights(straight) | front(straight)
    run, refused, failed, limits = folder / "run", 0, 0, (0, 300, 2_000, 6_000, 20_000, 60_000)
    for limit in limits:
        for program in (run_train, run_search):
            process = Forked(_limited, limit, program, run)
            status = process.wait()
            refused += status == 3
            if status not in (0, 3):
                failed += 1
                print(process.errors, file=sys.stderr)
    finished(run_train, run)
    finished(run_search, run)
    found = weights(run) | front(run)
    same = found == wanted
    return {
        "tried": 2 * len(limits),
        "runs": refused,
        "same": int(same),
        "failed": failed + (not same),
        "note": f"{refused} ended with a sentence; limits of {min(limits)} to {max(limits)} bytes",
    }


def _limited(limit: int, program: Callable[[pathlib.Path], None], run: pathlib.Path) -> None:
    """Ends with status 3 where the program says that it cannot write."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        program(run)
    except (CheckpointWriteError, FileWriteError, StoreWriteError, WorkdirError) as error:
        if len(str(error).strip().splitlines()) == 1:
            os._exit(3)
        raise


def jumping_clock(folder: pathlib.Path, seed: int) -> dict[str, object]:
    """Trains and searches while the clock of the wall jumps by up to ten years, twice."""
    straight, run = folder / "straight", folder / "run"
    for program in (run_train, run_search):
        finished(program, straight)
        finished(_with_jumps, program, run, seed)
    same = weights(run) | front(run) == weights(straight) | front(straight)
    return {"tried": 2, "runs": 2, "same": 2 * same, "failed": 2 * (not same), "note": ""}


def _with_jumps(program: Callable[[pathlib.Path], None], run: pathlib.Path, seed: int) -> None:
    rng, clock = np.random.default_rng(seed), time.time
    time.time = lambda: clock() + rng.uniform(-3e8, 3e8)
    program(run)


def two_at_once(folder: pathlib.Path) -> dict[str, object]:
    """Starts two trainings, then two searches, of one workdir: one works, one says so and ends."""
    straight, run = folder / "straight", folder / "run"
    failed = refused = 0
    for program in (run_train, run_search):
        finished(program, straight)
        pair = [Forked(_or_busy, program, run) for _ in range(2)]
        statuses = sorted(process.wait() for process in pair)
        refused += statuses.count(4)
        if statuses not in ([0, 0], [0, 4]):  # both, when one had ended before the other began
            failed += 1
            print(*(process.errors for process in pair), file=sys.stderr)
    same = weights(run) | front(run) == weights(straight) | front(straight)
    return {
        "tried": 2,
        "runs": refused,
        "same": 2 * same,
        "failed": failed + (not same),
        "note": f"{refused} were told that another one is at work",
    }


def _or_busy(program: Callable[[pathlib.Path], None], run: pathlib.Path) -> None:
    try:
        program(run)
    except WorkdirError:
        os._exit(4)


@contextlib.contextmanager
def _scratch(place: str | None) -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield pathlib.Path(folder)


def main() -> None:
    """Runs the tasks that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = [*KILLS, "flatbuffers", "genomes", "disk", "clock", "twice"]
    parser.add_argument("tasks", nargs="+", choices=tasks)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=600.0, help="kills end after these")
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", help="where the runs stand; the temporary folder by default")
    args = parser.parse_args()
    lost = 0
    for task in args.tasks:
        with _scratch(args.scratch) as folder:
            if task in KILLS:
                row = kill_at_random(task, args.kills, args.minutes, args.seed, folder)
            elif task == "flatbuffers":
                row = mutate_flatbuffers(args.mutations, args.seed, folder)
            elif task == "genomes":
                row = mutate_genomes(args.mutations, args.seed)
            elif task == "disk":
                row = full_disk(folder)
            elif task == "clock":
                row = jumping_clock(folder, args.seed)
            else:
                row = two_at_once(folder)
        print(f"{task}: {row}", flush=True)
        results_file.replace(RESULTS, "task", {"task": task, **row})
        lost += int(row["failed"])
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
