"""How a training step gets faster with threads: measured with one and two, a model beyond.

    python benchmarks/step_threads.py

The step of benchmarks/train_step.py on the paper's space (`mobilenet_v3_w1.2`, 128 px, batch 16,
six subnets, no teacher, native kernels), in a process of its own for each number of threads. Each
measures the whole step and the gradients of every one of its subnets; the update is what is left.

The model, for more threads than this machine has: by threads within one subnet alone (Amdahl's law,
with the serial share that one and two threads tell), and with one subnet for two threads side by
side, as `compile(subnets_at_once=None)` chooses: a group of subnets takes as long as its longest
one on two threads, and the update comes after all groups. It knows nothing of the memory's
bandwidth, which subnets share. Replaces benchmarks/results/step_threads.csv.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file

SPACE, PIXELS, BATCH, SUBNETS = "mobilenet_v3_w1.2", 128, 16, 6
MEASURED, MODELLED = (1, 2), (4, 8, 16)


def main() -> None:
    """Measures in subprocesses, and models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="steps; medians count")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.steps)))
        return
    found = {threads: measured_with(threads, args.steps) for threads in MEASURED}
    one, two = (found[threads]["step"] for threads in MEASURED)
    serial = min(1.0, max(0.0, 2 * two / one - 1))
    rows = [
        {"threads": threads, "kind": "measured", "at_once": 1, "seconds": round(own["step"], 3)}
        for threads, own in found.items()
    ]
    subnets = found[2]["subnets"]
    update = max(0.0, two - sum(subnets))
    for threads in MODELLED:
        within = one * (serial + (1 - serial) / threads)
        at_once = min(threads // 2, len(subnets))
        groups = [subnets[i : i + at_once] for i in range(0, len(subnets), at_once)]
        beside = update + sum(map(max, groups))
        rows += [
            {"threads": threads, "kind": "model", "at_once": number, "seconds": round(seconds, 3)}
            for number, seconds in ((1, within), (at_once, beside))
        ]
    shared = {"serial_share": round(serial, 3), "update_seconds": round(update, 3)}
    rows = [results_file.dated({**row, **shared}) for row in rows]
    for row in rows:
        print(row)
    results_file.write("step_threads", rows)


def measured_with(threads: int, steps: int) -> dict:
    """What `measure` finds in a process with so many threads."""
    limits = {f"TF_NUM_{kind}_THREADS": str(threads) for kind in ("INTRAOP", "INTEROP")}
    command = [sys.executable, __file__, "--child", "--steps", str(steps)]
    done = subprocess.run(
        command, env={**os.environ, **limits}, stdout=subprocess.PIPE, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{threads} threads: {found}", flush=True)
    return found


def measure(steps: int) -> dict:
    """Medians of the seconds of a step, and of the gradients of each of its subnets."""
    import tensorflow as tf

    from qfa_tf import QFASupernet, QFATraining, SearchSpace, TrainingStage
    from qfa_tf.runs.startup import skip_graph_rewriting
    from quantize_configs import use_native_kernels

    use_native_kernels()
    skip_graph_rewriting()
    space = SearchSpace.from_preset(SPACE).replace(
        name=f"{SPACE}_{PIXELS}px", resolutions=(PIXELS,)
    )
    net = QFASupernet(space)
    recipe = QFATraining(
        stages=(TrainingStage(space.weight_bits),),
        random_subnets=SUBNETS - 2,
        distillation="none",
    )
    net.compile(optimizer="sgd", training=recipe, subnets_at_once=1)
    rng = np.random.default_rng(0)
    images = rng.random((BATCH, PIXELS, PIXELS, 3), np.float32)
    labels = rng.integers(0, space.num_classes, BATCH).astype(np.int32)
    method = net.training_method
    given = tf.constant(images), tf.constant(labels)
    rest = tf.zeros([BATCH, net.heads.size]), tf.zeros([]), tf.zeros([2], tf.int64)

    def of_step() -> tuple[float, list[float]]:
        genomes = method.genomes(tf.cast(net.optimizer.iterations, tf.int64))
        alone = [
            seconds(lambda one=one: method.subnet_gradients(*given, one, *rest)) for one in genomes
        ]
        return seconds(lambda: net.train_on_batch(images, labels)), alone

    of_step()
    measured = [of_step() for _ in range(steps)]
    subnets = zip(*(alone for _, alone in measured), strict=True)
    return {
        "step": statistics.median(step for step, _ in measured),
        "subnets": [statistics.median(values) for values in subnets],
    }


def seconds(run) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
