"""The training step in turns with that of an earlier version, and so beside the official release.

    git worktree add ../earlier 5c489e1
    python benchmarks/step_versions.py --earlier ../earlier

The official PyTorch release (github.com/apple/ml-batchquant) was measured once, on a machine with
two cores that is not at hand: 8.69 s for the step of benchmarks/train_step.py on
`mobilenet_v3_w1.2` (128 px, batch 16, six subnets, no teacher), where this library at commit
5c489e1 took 2.91 s, and 34.7 s to its first step. Processors differ, so seconds of another machine
say nothing about this one; but that version runs anywhere. It and this one, with native kernels and
so many subnets side by side, take turns here, each turn in a process of its own. What this version
is in steps of the official one is 8.69 / 2.91 times the ratio of the two, turn by turn. Replaces
benchmarks/results/step_versions.csv.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

SPACE, PIXELS, BATCH, RANDOM_SUBNETS = "mobilenet_v3_w1.2", 128, 16, 4
OFFICIAL_SECONDS, EARLIER_SECONDS, EARLIER_START, EARLIER = 8.69, 2.91, 34.7, "5c489e1"
HERE = pathlib.Path(__file__).resolve()


def main() -> None:
    """Measures in subprocesses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--earlier", help=f"checkout of {EARLIER}", required=True)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--steps", type=int, default=5, help="steps of a turn; the median counts")
    parser.add_argument("--at_once", type=int, nargs="+", default=[1, 2], help="subnets")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        print(json.dumps(measure(args.child, args.steps)))
        return
    versions = {f"{EARLIER}, TensorFlow's operators": (pathlib.Path(args.earlier).resolve(), 0)}
    for number in args.at_once:
        name = f"this one, native kernels, {number} at once"
        versions[name] = HERE.parents[1], number
    found: dict[str, list[dict]] = {name: [] for name in versions}
    for _ in range(args.rounds):
        for name, (tree, at_once) in versions.items():
            found[name].append(measured_in(tree, at_once, args))
            print(f"{name:45} {found[name][-1]}", flush=True)
    import results_file

    results_file.write("step_versions", [results_file.dated(row) for row in rows_of(found)])


def rows_of(found: dict[str, list[dict]]) -> list[dict]:
    """One row per version, medians over its turns; ratios are taken turn by turn.

    `seconds_there` and `start_seconds_there` are what these make of the seconds of the other
    machine.
    """
    earlier, rows = next(iter(found.values())), []
    for name, turns in found.items():
        row = {"version": name}
        for figure in ("seconds", "processor_seconds", "start_seconds", "peak_gib"):
            row[figure] = round(statistics.median(turn[figure] for turn in turns), 2)
        times = {
            figure: statistics.median(
                one[figure] / own[figure] for one, own in zip(earlier, turns, strict=True)
            )
            for figure in ("seconds", "processor_seconds", "start_seconds")
        }
        row |= {f"{figure}_earlier_by_this": round(value, 2) for figure, value in times.items()}
        row["seconds_there"] = round(EARLIER_SECONDS / times["seconds"], 2)
        row["start_seconds_there"] = round(EARLIER_START / times["start_seconds"], 1)
        for figure in ("seconds", "processor_seconds"):
            of_official = OFFICIAL_SECONDS / EARLIER_SECONDS * times[figure]
            row[f"{figure}_official_by_this"] = round(of_official, 2)
        rows.append(row)
    return rows


def measured_in(tree: pathlib.Path, at_once: int, args) -> dict:
    """What `measure` finds with the packages of a checkout."""
    command = [sys.executable, HERE, "--earlier", args.earlier, "--steps", str(args.steps)]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        [*map(str, command), "--child", str(at_once)],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"Error: the step of {tree} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(at_once: int, steps: int) -> dict:
    """Medians of the steps, the time to the first one and the peak of memory.

    Args:
      at_once: Subnets side by side; 0 for a version that has neither these nor native kernels.
      steps: How many count.
    """
    from timed_steps import TimedSteps

    from qfa_tf import QFASupernet, QFATraining, SearchSpace, TrainingStage
    from qfa_tf.runs.startup import skip_graph_rewriting
    from quantize_configs.keras_backend import keras

    options = {}
    if at_once:
        from quantize_configs import use_native_kernels

        use_native_kernels()
        options["subnets_at_once"] = at_once
    skip_graph_rewriting()
    space = SearchSpace.from_preset(SPACE).replace(name="one_size", resolutions=(PIXELS,))
    recipe = QFATraining(
        stages=(TrainingStage(space.weight_bits),),
        random_subnets=RANDOM_SUBNETS,
        distillation="none",
    )
    rng = np.random.default_rng(0)
    images = rng.random((BATCH, PIXELS, PIXELS, 3), np.float32)
    labels = rng.integers(0, space.num_classes, BATCH).astype(np.int32)

    def compiled() -> QFASupernet:
        net = QFASupernet(space)
        net.compile(optimizer=keras.optimizers.SGD(1e-3), training=recipe, **options)
        return net

    timed = TimedSteps(compiled, (images, labels))
    timed.warm_up()
    timed.measure(steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "seconds": round(timed.median("seconds"), 3),
        "processor_seconds": round(timed.median("processor_seconds"), 3),
        "start_seconds": round(timed.start_seconds, 1),
        "peak_gib": round(peak, 2),
    }


if __name__ == "__main__":
    main()
