"""What a kill, a damaged file, a full disk, another clock and a second program do to a run.

    python benchmarks/reliability.py train search table finetune     # --kills=50 each
    python benchmarks/reliability.py flatbuffers genomes             # --mutations=10000
    python benchmarks/reliability.py limits clock twice
    python benchmarks/reliability.py disk                            # mounts a tmpfs, so as root

Every task adds or replaces its row in benchmarks/results/reliability.csv and ends with status 1
where something was lost. SIGTERM ends the kills; what was found by then is kept.
docs/reliability.md says what the columns mean.

A task that kills runs a tiny supernet of scikit-learn's digits in processes that are forked after
the imports and killed (SIGKILL) after a random part of the time that an uninterrupted run takes;
the next process goes on. When one ends by itself its result is compared with that of the
uninterrupted run, and a new run begins.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
from forked import Forked, finished
from small_programs import PROGRAMS, run_search, run_train

from qfa_tf.runs.errors import WorkdirError
from qfa_tf.space import SearchSpace
from quantize_configs.errors import QFAError

KILLS = tuple(PROGRAMS)
RESULTS = "reliability"
REFUSED, BUSY = 3, 4
"""Exit statuses of processes that ended with a sentence."""
STOP: list[int] = []
"""Signals to end the kills and keep what was found."""


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
    while done < kills and time.monotonic() < end and not STOP:
        process = Forked(program.run, run)
        status = process.wait(rng.uniform(0.0, 1.0) * seconds)
        if status is None:
            process.kill()
            done += 1
            print(f"{name}: {done} kills, {dict(counts)}", flush=True)
            continue
        counts.update(_judged(name, status, process, run, wanted))
        shutil.rmtree(run)
        shutil.copytree(before, run)
    process = Forked(program.run, run)
    counts.update(_judged(name, process.wait(), process, run, wanted))
    return {
        "tried": done,
        "runs": counts.total(),
        "same": counts["same"],
        "failed": counts["error"] + counts["other"],
        "note": f"{seconds:.1f} s uninterrupted",
    }


def _judged(name, status, process, run, wanted) -> list[str]:
    """What became of a run that ended by itself: "same", "other" or "error"."""
    if status != 0:
        print(process.errors, file=sys.stderr)
        return ["error"]
    found = PROGRAMS[name].outcome(run)
    different = sorted(key for key in wanted if found.get(key) != wanted[key])
    if different:
        print(f"differs in {different[:5]}", file=sys.stderr)
    return ["other" if different else "same"]


# Damaged input.


def mutate_flatbuffers(count: int, seed: int, folder: pathlib.Path) -> dict[str, object]:
    """Reads and runs mutated files; see `judge_flatbuffers` for what can become of one."""
    from byte_mutations import mutated
    from mutations import judge_flatbuffers, write_small_flatbuffer

    finished(write_small_flatbuffer, folder)
    content = (folder / "original.tflite").read_bytes()
    rng = np.random.default_rng(seed)
    counts: collections.Counter[str] = collections.Counter()
    while counts.total() < count:
        batch = [mutated(content, rng) for _ in range(min(250, count - counts.total()))]
        counts.update(judge_flatbuffers(batch, folder))
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


# Full disk, clock, two at once: a training and the search that follows it.

Run = Callable[[pathlib.Path], None]
BOTH: tuple[Run, Run] = (run_train, run_search)


def _outcome(folder: pathlib.Path) -> dict[str, bytes]:
    return PROGRAMS["train"].outcome(folder) | PROGRAMS["search"].outcome(folder)


def _undisturbed(folder: pathlib.Path) -> dict[str, bytes]:
    for program in BOTH:
        finished(program, folder)
    return _outcome(folder)


def file_limits(folder: pathlib.Path) -> dict[str, object]:
    """Files may not grow beyond ever larger limits (RLIMIT_FSIZE), then they may."""
    wanted = _undisturbed(folder / "straight")
    limits = (0, 300, 2_000, 6_000, 20_000, 60_000, 1_000_000)
    told = collections.Counter(
        _sentence_or_end(program, folder / "run", limit) for limit in limits for program in BOTH
    )
    return _after_refusals(folder / "run", wanted, told, f"{limits[0]} to {limits[-1]:,} bytes")


def full_disk(folder: pathlib.Path) -> dict[str, object]:
    """A disk of its own (tmpfs) that is too small, and grows.

    Raises:
      SystemExit: This user may not mount one.
    """
    wanted = _undisturbed(folder / "straight")
    used = sum(path.stat().st_blocks * 512 for path in (folder / "straight").rglob("*"))
    sizes = [int(used * share) for share in (0.01, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 1.0)]
    disk = folder / "disk"
    disk.mkdir()
    with _tmpfs(disk) as resize:
        told: collections.Counter[str] = collections.Counter()
        for size in sizes:
            resize(size)
            told.update(_sentence_or_end(program, disk / "run") for program in BOTH)
        resize(8 * used)
        return _after_refusals(disk / "run", wanted, told, f"{sizes[0]:,} to {sizes[-1]:,} bytes")


@contextlib.contextmanager
def _tmpfs(folder: pathlib.Path) -> Iterator[Callable[[int], None]]:
    """A file system in memory there; yields what sets its size in bytes."""

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            raise SystemExit("The task disk mounts a small tmpfs, which only root may do.")

    mount("size=4k")
    try:
        yield lambda size: mount(f"remount,size={-(-size // 1024)}k")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _sentence_or_end(program: Run, run: pathlib.Path, limit: int | None = None) -> str:
    """ "finished", the name of the error that was one sentence, or "traceback"."""
    with tempfile.NamedTemporaryFile("r+") as file:
        process = Forked(_telling, program, run, limit, file.name)
        status = process.wait()
        if status == REFUSED:
            return file.read()
    if status != 0:
        print(process.errors, file=sys.stderr)
    return "traceback" if status else "finished"


def _telling(program: Run, run: pathlib.Path, limit: int | None, file: str) -> None:
    """Writes the name of an error that is one sentence."""
    handle = open(file, "w")  # noqa: SIM115 - before nothing can be opened
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        program(run)
    except BaseException as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        if not isinstance(error, QFAError) or len(str(error).strip().splitlines()) != 1:
            raise
        handle.write(type(error).__name__)
        handle.flush()
        os._exit(REFUSED)


def _after_refusals(run, wanted, told: collections.Counter[str], sizes: str) -> dict[str, object]:
    """Finishes what was refused, and compares."""
    finished(run_train, run)
    finished(run_search, run)
    same, failed = _outcome(run) == wanted, told["traceback"]
    refusals = {key: value for key, value in told.items() if key not in ("finished", "traceback")}
    named = ", ".join(f"{value} {key}" for key, value in sorted(refusals.items()))
    return {
        "tried": told.total(),
        "runs": sum(refusals.values()),
        "same": told.total() - failed if same else 0,
        "failed": failed + (not same),
        "note": f"{sizes}: {named}, {told['finished']} finished; then the same result",
    }


def jumping_clock(folder: pathlib.Path, seed: int) -> dict[str, object]:
    """The clock of the wall jumps by up to ten years with every call."""
    wanted = _undisturbed(folder / "straight")
    for program in BOTH:
        finished(_with_jumps, program, folder / "run", seed)
    same = _outcome(folder / "run") == wanted
    return {"tried": 2, "runs": 2, "same": 2 * same, "failed": 2 * (not same), "note": ""}


def _with_jumps(program: Run, run: pathlib.Path, seed: int) -> None:
    rng, clock = np.random.default_rng(seed), time.time
    time.time = lambda: clock() + rng.uniform(-3e8, 3e8)
    program(run)


def two_at_once(folder: pathlib.Path) -> dict[str, object]:
    """Starts two trainings, then two searches, of one workdir: one works, one says so and ends."""
    wanted = _undisturbed(folder / "straight")
    run, failed, refused = folder / "run", 0, 0
    for program in BOTH:
        pair = [Forked(_or_busy, program, run) for _ in range(2)]
        statuses = sorted(process.wait() for process in pair)
        refused += statuses.count(BUSY)
        if statuses not in ([0, 0], [0, BUSY]):  # both, when one had ended before the other began
            failed += 1
            print(*(process.errors for process in pair), file=sys.stderr)
    same = _outcome(run) == wanted
    return {
        "tried": 2,
        "runs": refused,
        "same": 2 * same,
        "failed": failed + (not same),
        "note": f"{refused} were told that another one is at work",
    }


def _or_busy(program: Run, run: pathlib.Path) -> None:
    try:
        program(run)
    except WorkdirError:
        os._exit(BUSY)


def main() -> None:
    """Runs the tasks that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = [*KILLS, "flatbuffers", "genomes", "limits", "disk", "clock", "twice"]
    parser.add_argument("tasks", nargs="+", choices=tasks)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=600.0, help="kills end after these")
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", help="where the runs stand; the temporary folder by default")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: STOP.append(number))
    lost = 0
    for task in args.tasks:
        with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
            folder = pathlib.Path(scratch)
            if task in KILLS:
                row = kill_at_random(task, args.kills, args.minutes, args.seed, folder)
            elif task == "flatbuffers":
                row = mutate_flatbuffers(args.mutations, args.seed, folder)
            elif task == "genomes":
                row = mutate_genomes(args.mutations, args.seed)
            elif task == "limits":
                row = file_limits(folder)
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
