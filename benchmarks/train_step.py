"""Seconds per training step, with and without quantizers, and the time to the first step.

    python benchmarks/train_step.py --space digits_tiny
    python benchmarks/train_step.py --space mobilenet_v3_w1.2 --resolution 128 --batch 16 \\
        --random_subnets 4 --no_teacher --rounds 3 --steps 1 --native

The float measurement is the same step on the same space with all sites fixed to float, that is
without any quantizer in the graph. Steps of both are measured in turns, so that a change of the
machine's speed meets both. Processor seconds count all threads: they say what a step costs where
others use the machine, too. The peak of memory is that of the process before the float net is made.
Where the official release was measured with the same settings, its seconds stand beside ours.
Appends to benchmarks/results/train_step.csv.

    python benchmarks/train_step.py --space resnet_tiny --resolution 16 --execution masked

measures in place of the float step what static shapes cost: the step sliced, masked, and masked and
compiled by XLA, in turns. Appends to benchmarks/results/train_step_execution.csv.

    python benchmarks/train_step.py --space mobilenet_v3_w1.2 --resolution 128 --batch 16 \\
        --random_subnets 4 --no_teacher --rounds 3 --steps 1 --native --at_once 1 2

measures the step with so many subnets side by side, in turns, what each adds to the peak of memory,
and counts the operators of a subnet with its gradients. Appends to
benchmarks/results/train_step_at_once.csv.
"""

import argparse
import os
import resource

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import results_file
from timed_steps import TimedSteps, measure_in_turns

from qfa_tf import QFASupernet, QFATraining, SearchSpace, TrainingStage
from qfa_tf.runs.startup import skip_graph_rewriting
from quantize_configs import use_native_kernels
from quantize_configs.keras_backend import keras

OFFICIAL_SECONDS = {("mobilenet_v3_w1.2", 128, 16, 6): 8.69}
"""By space, resolution, batch and subnets: seconds of one step of the official PyTorch release
(github.com/apple/ml-batchquant: six subnets forward and backward, one update), measured once on a
machine with two cores, on which a step of ours took 2.91 s at that time."""


EXECUTIONS = {"sliced": ("sliced", False), "masked": ("masked", False), "xla": ("masked", True)}
"""Execution and whether XLA compiles the step."""


class Supernets:
    """Makes supernets whose steps are timed, all on one batch and by one recipe.

    Args:
      recipe: Of the training.
      batch: Images and labels.
    """

    def __init__(self, recipe: QFATraining, batch: tuple[np.ndarray, np.ndarray]):
        self._recipe, self._batch = recipe, batch

    def timed(
        self,
        space: SearchSpace,
        execution: str = "sliced",
        jit_compile: bool = False,
        at_once: int = 1,
    ) -> TimedSteps:
        """The steps of a supernet of a space."""

        def compiled() -> QFASupernet:
            net = QFASupernet(space, execution=execution)
            net.compile(
                optimizer=keras.optimizers.SGD(1e-3),
                training=self._recipe,
                jit_compile=jit_compile,
                subnets_at_once=at_once,
            )
            return net

        return TimedSteps(compiled, self._batch)


def main() -> None:
    """Measures one space."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="digits_tiny", help="a preset")
    parser.add_argument("--batch", type=int, default=64, help="images per step")
    parser.add_argument("--resolution", type=int, help="of all subnets; the largest by default")
    parser.add_argument("--no_teacher", action="store_true", help="leave distillation out")
    parser.add_argument("--random_subnets", type=int, default=2, help="besides teacher, min, max")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each of the two")
    parser.add_argument("--steps", type=int, default=10, help="steps per turn")
    parser.add_argument("--native", action="store_true", help="use native kernels, built if needed")
    parser.add_argument(
        "--execution",
        choices=("sliced", "masked"),
        default="sliced",
        help="masked: compare masked with sliced steps, XLA's too, in place of float ones",
    )
    parser.add_argument(
        "--at_once",
        type=int,
        nargs="+",
        help="compare so many subnets side by side",
    )
    args = parser.parse_args()

    if args.native:
        use_native_kernels()
    skip_graph_rewriting()  # as the programs do
    space = SearchSpace.from_preset(args.space)
    size = args.resolution or space.resolutions[-1]
    if args.resolution:
        space = space.replace(name=f"{space.name}_{size}px", resolutions=(size,))
    fixed = {site.name: (32, 32) for site in space.sites}
    float_space = space.replace(name=f"{space.name}_float", fixed_bits=fixed)
    bits = tuple(sorted({*space.weight_bits, *space.activation_bits}))
    recipe = QFATraining(
        stages=(TrainingStage(bits),),
        random_subnets=args.random_subnets,
        distillation="none" if args.no_teacher else "in_place",
    )
    rng = np.random.default_rng(0)
    images = rng.random((args.batch, size, size, space.input_channels), np.float32)
    labels = rng.integers(0, space.num_classes, args.batch).astype(np.int32)
    supernets = Supernets(recipe, (images, labels))

    subnets = 2 + args.random_subnets + (not args.no_teacher)
    case = {"space": space.name, "resolution": size, "batch": args.batch, "subnets": subnets}
    if args.execution == "masked":
        found = {name: supernets.timed(space, *kind) for name, kind in EXECUTIONS.items()}
        compare(case, found, args.rounds, args.steps, "train_step_execution")
        return
    if args.at_once:
        compare_at_once(case, space, supernets, args)
        return
    quantized = supernets.timed(space)
    quantized.warm_up()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    floating = supernets.timed(float_space)
    measure_in_turns((quantized, floating), args.rounds, args.steps)
    official = OFFICIAL_SECONDS.get((args.space, size, args.batch, subnets))
    with_quantizers, without = quantized.median("seconds"), floating.median("seconds")
    row = {
        **case,
        "kernels": "native" if args.native else "tensorflow",
        "seconds_per_step": round(with_quantizers, 4),
        "seconds_per_float_step": round(without, 4),
        "ratio": round(with_quantizers / without, 3),
        "start_seconds": round(quantized.start_seconds, 1),
        "float_start_seconds": round(floating.start_seconds, 1),
        "processor_seconds": round(quantized.median("processor_seconds"), 4),
        "processor_seconds_float": round(floating.median("processor_seconds"), 4),
        "peak_gib": round(peak, 2),
        "official_seconds": official or "",
        "traces": quantized.model.trace_counts()["subnet_gradients"],
    }
    for name, value in row.items():
        print(f"{name:24} {value}")
    if official:
        print(f"official / ours          {official / with_quantizers:.2f}, on another day: see")
        print("                         OFFICIAL_SECONDS in this file")
    results_file.append("train_step", row)


def compare_at_once(case: dict, space: SearchSpace, supernets: Supernets, args) -> None:
    """Measures one step with different numbers of subnets side by side."""
    found, peaks = {}, {}
    for number in args.at_once:
        name = f"{number}_at_once"
        found[name] = supernets.timed(space, at_once=number)
        found[name].warm_up()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        peaks[f"peak_gib_{name}"] = round(peak, 2)
    case = {
        **case,
        "kernels": "native" if args.native else "tensorflow",
        "operators_of_subnet": operators(found[name].model),
        **peaks,
    }
    compare(case, found, args.rounds, args.steps, "train_step_at_once")


def operators(net: QFASupernet) -> int:
    """Operators in the graph of a subnet and its gradients."""
    graph = net.training_method.subnet_gradients.get_concrete_function().graph.as_graph_def()
    return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)


def compare(
    case: dict, measured: dict[str, TimedSteps], rounds: int, steps: int, file: str
) -> None:
    """Measures the steps in turns, and their ratios to the first one."""
    measure_in_turns(measured.values(), rounds, steps)
    row = dict(case)
    first, *others = measured
    for title in ("seconds", "processor_seconds"):
        found = {name: one.median(title) for name, one in measured.items()}
        row |= {f"{title}_{name}": round(value, 4) for name, value in found.items()}
        row |= {f"{title}_{name}_ratio": round(found[name] / found[first], 3) for name in others}
    row |= {f"start_seconds_{name}": round(one.start_seconds, 1) for name, one in measured.items()}
    for name, value in row.items():
        print(f"{name:30} {value}")
    results_file.append(file, row)


if __name__ == "__main__":
    main()
