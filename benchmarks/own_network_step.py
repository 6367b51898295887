"""Seconds of a training step of MobileNetV2 read from Keras, and of the family of the same sizes.

    python benchmarks/own_network_step.py

`SearchSpace.from_model` of `keras.applications.MobileNetV2` against the family `mobilenet_v2` with
the same widths, depths, kernels and bits: 64 px, ten classes, batches of 16, the smallest and the
largest subnet, the float largest one as the teacher, native kernels. Steps of both in turns,
medians. Appends to benchmarks/results/own_network_step.csv.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
from timed_steps import TimedSteps, measure_in_turns

from qfa_tf import CostModel, QFASupernet, QFATraining, SearchSpace, TrainingStage
from qfa_tf.runs.startup import skip_graph_rewriting
from quantize_configs import use_native_kernels
from quantize_configs.keras_backend import keras

SIZE, CLASSES, BATCH = 64, 10, 16
BITS, RATIOS = (4, 8), (3, 4, 6)
DEPTHS = ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), (1, 2, 3), (1, 2, 3), (1,))

FIXED = tuple(
    f"{name}.width" for name in ("Conv1", "expanded_conv_project", "block_16_project", "Conv_1")
)
"""Widths that the family does not choose."""


def family() -> SearchSpace:
    """The hand-written one."""
    return SearchSpace.from_preset("mobilenet_v2").replace(
        name="mobilenet_v2_family",
        resolutions=(SIZE,),
        depths=DEPTHS,
        kernel_sizes=(3,),
        expand_ratios=RATIOS,
        weight_bits=BITS,
        activation_bits=(8,),
        num_classes=CLASSES,
    )


def read(model: keras.Model) -> SearchSpace:
    """The one that is read."""
    ratios = tuple(ratio / RATIOS[-1] for ratio in RATIOS)
    options = {"weight_bits": BITS, "activation_bits": (8,), "width_ratios": ratios}
    table = SearchSpace.from_model(model, **options).describe()
    for name in FIXED:
        table[name] = table[name][-1:]
    return SearchSpace.from_model(model, **options, elastic=table)


def timed(net: QFASupernet) -> TimedSteps:
    """The steps of a supernet, which is compiled for it."""
    rng = np.random.default_rng(0)
    batch = (
        rng.random((BATCH, SIZE, SIZE, 3), np.float32),
        rng.integers(0, CLASSES, BATCH).astype(np.int32),
    )

    def compiled() -> QFASupernet:
        training = QFATraining(stages=(TrainingStage(BITS),), random_subnets=0)
        net.compile(keras.optimizers.SGD(1e-3), training=training)
        return net

    return TimedSteps(compiled, batch)


def main() -> None:
    """Measures both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="steps of each, in turns")
    args = parser.parse_args()
    use_native_kernels()
    skip_graph_rewriting()  # as the programs do
    keras.utils.set_random_seed(0)
    shape = (SIZE, SIZE, 3)
    model = keras.applications.MobileNetV2(input_shape=shape, weights=None, classes=CLASSES)
    spaces = {"read": read(model), "family": family()}
    macs = {}
    for name, space in spaces.items():
        ends = np.stack([space.encode(one) for one in (space.smallest(), space.largest())])
        macs[name] = CostModel(space).evaluate(ends)["macs"]
    if not np.array_equal(macs["read"], macs["family"]):
        raise SystemExit(f"The two are not of the same sizes: {macs}")
    nets = {
        "read": timed(QFASupernet.from_model(model, spaces["read"])),
        "family": timed(QFASupernet(spaces["family"])),
    }
    measure_in_turns(nets.values(), args.rounds, 1)
    row = {
        "pixels": SIZE,
        "batch": BATCH,
        "rounds": args.rounds,
        "smallest_macs": int(macs["read"][0]),
        "largest_macs": int(macs["read"][1]),
    }
    for kind, figure in (("wall", "seconds"), ("processor", "processor_seconds")):
        found = {name: net.median(figure) for name, net in nets.items()}
        row |= {f"{kind}_{name}": round(value, 4) for name, value in found.items()}
        row[f"{kind}_ratio"] = round(found["read"] / found["family"], 3)
    row |= {f"start_{name}": round(net.start_seconds, 1) for name, net in nets.items()}
    print(row)
    results_file.append("own_network_step", row)


if __name__ == "__main__":
    main()
