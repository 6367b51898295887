"""Time to calibrate and evaluate one subnet, against eager TensorFlow, and subnets per minute.

    python benchmarks/evaluate_subnet.py
    python benchmarks/evaluate_subnet.py --kernels
    python benchmarks/evaluate_subnet.py --workdir workdir/digits

Without a workdir: 30 batches of 64 images for calibration and 2,000 images for evaluation at 64
pixels, in a MobileNetV3 space of width 0.25 with random weights and images; both ways take turns on
the same random subnets. Also counts the traces. With --kernels: TensorFlow's operators and native
kernels in place of these. With a workdir: random subnets of its supernet as the search measures
them, by this process with all its threads, and by one and more workers of one thread each. Appends
to benchmarks/results/evaluate_subnet.csv, evaluation_kernels.csv or subnets_per_minute.csv.
"""

import argparse
import functools
import os
import pathlib
import subprocess
import time

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file

from qfa_tf.space import SearchSpace

CALIBRATION_BATCHES, CALIBRATION_SIZE = 30, 64
EVALUATION_BATCHES, EVALUATION_SIZE = 8, 250


def main() -> None:
    """Measures one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", help="of a trained supernet; measures subnets per minute")
    parser.add_argument("--kernels", action="store_true", help="compare kernels")
    parser.add_argument("--subnets", type=int, default=3, help="measured ones; the median counts")
    parser.add_argument("--throughput_subnets", type=int, default=60, help="with a workdir")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="0: no workers")
    args = parser.parse_args()
    if args.workdir:
        for workers in args.workers:
            measure_throughput(args.workdir, workers, args.throughput_subnets)
    elif args.kernels:
        measure_kernels(args.subnets)
    else:
        measure_subnet(args.subnets)


def measure_subnet(subnets: int) -> None:
    """Compiled against eager, on the same subnets."""
    import tensorflow as tf

    from qfa_tf import QFASupernet

    space, rng, calibration, evaluation = _problem()
    net = QFASupernet(space)

    def measure(arch) -> float:
        began = time.perf_counter()
        net.evaluate_architecture(arch, evaluation, net.calibrate(calibration, arch))
        return time.perf_counter() - began

    start = measure(space.largest(bits=4))
    seconds = {"compiled": [], "eager": []}
    for _ in range(subnets):
        arch = space.decode(_at_full_resolution(space, rng))
        for way in seconds:
            tf.config.run_functions_eagerly(way == "eager")
            seconds[way].append(measure(arch))
            tf.config.run_functions_eagerly(False)
            print(f"{way:10} {seconds[way][-1]:.2f} s", flush=True)
    ratios = np.array(seconds["eager"]) / np.array(seconds["compiled"])
    row = {
        **_case(space, subnets),
        "seconds": round(float(np.median(seconds["compiled"])), 2),
        "eager_seconds": round(float(np.median(seconds["eager"])), 2),
        "times_eager": round(float(np.median(ratios)), 2),
        "first_seconds": round(start, 1),
        "traces": max(net.trace_counts().values()),
    }
    _finish("evaluate_subnet", row)


def measure_kernels(subnets: int) -> None:
    """TensorFlow's operators against native kernels, on the same subnets."""
    import contextlib

    from qfa_tf import QFASupernet
    from qfa_tf.runs.startup import skip_graph_rewriting
    from quantize_configs.native.building import build
    from quantize_configs.native.operators import native_kernels_at_hand

    skip_graph_rewriting()  # as the programs do
    build()
    space, rng, calibration, evaluation = _problem()
    kinds = {"tensorflow": contextlib.nullcontext, "native": native_kernels_at_hand}
    nets = {kind: QFASupernet(space) for kind in kinds}
    nets["native"].set_weights(nets["tensorflow"].get_weights())

    def measure(kind, arch) -> dict[str, float]:
        with kinds[kind]():
            statistics = nets[kind].calibrate(calibration, arch)
            return nets[kind].evaluate_architecture(arch, evaluation, statistics)

    started = {}
    for kind in kinds:
        began = time.perf_counter()
        measure(kind, space.largest(bits=4))
        started[kind] = time.perf_counter() - began
    seconds, differences = {kind: [] for kind in kinds}, []
    for _ in range(subnets):
        arch = space.decode(_at_full_resolution(space, rng))
        losses = []
        for kind, found in seconds.items():
            began = time.process_time()
            losses.append(measure(kind, arch)["loss"])
            found.append(time.process_time() - began)
            print(f"{kind:10} {found[-1]:.2f} processor s", flush=True)
        differences.append(abs(losses[1] - losses[0]))
    ratios = np.array(seconds["tensorflow"]) / np.array(seconds["native"])
    row = {
        **_case(space, subnets),
        **{f"processor_{kind}": round(float(np.median(all_)), 2) for kind, all_ in seconds.items()},
        "times": round(float(np.median(ratios)), 2),
        **{f"first_{kind}": round(value, 1) for kind, value in started.items()},
        "largest_difference_of_losses": max(differences),
    }
    _finish("evaluation_kernels", row)


def measure_throughput(path: str, workers: int, subnets: int) -> None:
    """Subnets per minute as the search measures them."""
    from qfa_tf.runs import Workdir
    from qfa_tf.runs.building import build_space
    from qfa_tf.runs.measurement import single_threaded_evaluator, workdir_evaluator
    from qfa_tf.search.worker_pool import WorkerPool

    workdir = Workdir(path)
    space = build_space(workdir.config())
    evaluator = workdir_evaluator(workdir, space)
    genomes = space.sample_genomes(np.random.default_rng(0), subnets)
    first = genomes[: max(1, 2 * workers)]
    factory = functools.partial(
        single_threaded_evaluator, str(workdir.path.absolute()), evaluator.checkpoint_key
    )
    pool = WorkerPool(factory, workers, evaluator) if workers else None
    measured = pool or evaluator
    began = time.perf_counter()
    measured.evaluate(first)  # traces
    start = time.perf_counter() - began
    began = time.perf_counter()
    measured.evaluate(genomes)
    seconds = time.perf_counter() - began
    if pool is not None:
        pool.close()
    row = {
        "version": _version(),
        "space": space.name,
        "calibration_images": evaluator.calibration_images,
        "evaluation_images": evaluator.images,
        "workers": workers or "none, all threads",
        "subnets": subnets,
        "subnets_per_minute": round(60 * subnets / seconds),
        "start_seconds": round(start, 1),
    }
    _finish("subnets_per_minute", row)


def _version() -> str:
    """Of the code: the day of its last commit; these rows are about changes to it."""
    command = ["git", "log", "-1", "--format=%cs %h"]
    here = pathlib.Path(__file__).parent
    return subprocess.run(command, cwd=here, capture_output=True, text=True).stdout.strip()


def _problem() -> tuple[SearchSpace, np.random.Generator, list, list]:
    """Space, source of subnets, and batches to calibrate and to evaluate with."""
    rng = np.random.default_rng(0)
    calibration = _batches(rng, CALIBRATION_BATCHES, CALIBRATION_SIZE)
    evaluation = _batches(rng, EVALUATION_BATCHES, EVALUATION_SIZE)
    space = SearchSpace.mobilenet_v3(0.25, resolutions=(48, 64), num_classes=10)
    return space, rng, calibration, evaluation


def _case(space: SearchSpace, subnets: int) -> dict:
    """What the rows of `_problem` begin with."""
    return {
        "space": space.name,
        "calibration": f"{CALIBRATION_BATCHES}x{CALIBRATION_SIZE}",
        "evaluation_images": EVALUATION_BATCHES * EVALUATION_SIZE,
        "subnets": subnets,
    }


def _batches(rng, count: int, size: int) -> list:
    import tensorflow as tf

    images = rng.random((count, size, 64, 64, 3), np.float32)
    labels = rng.integers(0, 10, (count, size)).astype(np.int32)
    return [(tf.constant(x), tf.constant(y)) for x, y in zip(images, labels, strict=True)]


def _at_full_resolution(space: SearchSpace, rng) -> np.ndarray:
    genome = space.sample_genomes(rng, 1)[0]
    genome[space.gene_index["resolution"]] = space.resolutions[-1]
    return genome


def _finish(name: str, row: dict) -> None:
    for key, value in row.items():
        print(f"{key:24} {value}")
    results_file.append(name, row)


if __name__ == "__main__":
    main()
