r"""Accuracy after equally many steps: this library against the official release of QFA.

    apt-get install dataset-fashion-mnist
    python benchmarks/equal_steps.py --seed 0 --variant base

One problem from random weights, for both: Fashion-MNIST at 64 px, `mobilenet_v3(0.25)`, three equal
channels, flips of whole batches, batch 64, six subnets per step, labels smoothed by .1, Nesterov
momentum .9, weight decay 3e-5 on kernels, clip norm 1000; 250 steps with 2, 3, 4 bits and float,
then 500 with 2, 3 and 4. Then 16 subnets are calibrated on 30 x 64 training images and evaluated on
the first 5,000 test images: smallest and largest with kernel 5 at 2, 3 and 4 bits, and ten random
ones.

Each variant changes one thing (`--list` shows them); `--pixels 20` is a smaller problem to compare
them by: the preset `fashion_mnist` at 20 pixels with batches of 32, all else being equal. Killed
and started again, this program goes on where it was. Appends a row to
benchmarks/results/equal_steps.csv, a training that diverges included; `--table` prints all rows
against `OFFICIAL`.
"""

import argparse
import csv
import json
import math
import os
import pathlib
import time
from collections.abc import Iterator, Mapping

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
import rich.progress
import rich.table
import tensorflow as tf
from training_ideas import GradientTerms, TrainingIdea, depthwise_bits
from training_variants import STAGE_STEPS, VARIANTS

from qfa_tf import Architecture, QFASupernet, SearchSpace, TrainingStage
from qfa_tf.data.idx_files import read_idx
from qfa_tf.runs.startup import skip_graph_rewriting
from qfa_tf.training import DivergedError
from quantize_configs import use_native_kernels
from quantize_configs.files import write_text
from quantize_configs.keras_backend import keras

DATA = pathlib.Path("/usr/share/datasets/fashion-mnist")
MEAN, DEVIATION, CLASSES, FLIP = 0.286, 0.353, 10, 0.5
MIXED, WITH_FLOAT = (2, 3, 4), (2, 3, 4, 32)
STAGE_RATES, WARMUP = (0.08, 0.04), 100
CALIBRATION_BATCH, TEST_IMAGES, RANDOM = 64, 5000, 10
SAVE_EVERY, DIVERGED = 50, "diverged"
BATCHES = {64: 64, 20: 32}
"""Images of a step, by their pixels."""
SMALL = "fashion_mnist"
"""The preset of the small problem."""

OFFICIAL = {
    0: {
        "smallest_2": 76.1, "largest_2": 75.4, "smallest_3": 78.8, "largest_3": 69.4,
        "smallest_4": 82.8, "largest_4": 82.2, "random_lowest": 50.4, "random_median": 78.6,
        "random_highest": 80.1, "mean": 76.4, "median": 78.5,
    },
    1: {
        "smallest_2": 75.5, "largest_2": 76.3, "smallest_3": 80.0, "largest_3": 79.8,
        "smallest_4": 81.2, "largest_4": 81.2, "random_lowest": 75.9, "random_median": 78.5,
        "random_highest": 79.0, "mean": 78.5, "median": 78.7,
    },
}  # fmt: skip
"""The official release (ml-batchquant, PyTorch 2, one core) on this very problem, by seed, measured
in November 2026. Its evaluation leaves depthwise layers of other kernels than 7 at 4 bits, which
favours its probes of fewer bits."""


class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """`rate min(1, (s + 1) / 100) (1 + cos(pi s / steps)) / 2` in each stage.

    Args:
      factor: Of the rates of all stages.
    """

    def __init__(self, factor: float = 1.0):
        self._factor = factor

    def __call__(self, step):
        """Learning rate of a step, float32 scalar."""
        step = tf.cast(step, tf.float32)
        rates, start = [], 0
        for steps, rate in zip(STAGE_STEPS, STAGE_RATES, strict=True):
            done = step - float(start)
            cosine = (1.0 + tf.cos(math.pi * done / steps)) / 2.0
            rates.append(self._factor * rate * tf.minimum(1.0, (done + 1.0) / WARMUP) * cosine)
            start += steps
        return tf.where(step < float(STAGE_STEPS[0]), rates[0], rates[1])

    def get_config(self):
        """Constructor arguments."""
        return {"factor": self._factor}


class Images:
    """Fashion-MNIST as the recipe wants it.

    Args:
      pixels: Height and width.
    """

    def __init__(self, pixels: int):
        self.pixels, self._batch = pixels, BATCHES[pixels]
        self._channels = space_of(pixels).input_channels
        self._train = self._read("train")
        self._test = self._read("t10k")

    def _read(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        images = read_idx(DATA / f"{kind}-images-idx3-ubyte.gz")
        return images, read_idx(DATA / f"{kind}-labels-idx1-ubyte.gz").astype(np.int32)

    def batch(self, seed: int, step: int, count: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Training images of a step, flipped or not as a whole."""
        images, labels = self._train
        rng = np.random.default_rng([seed, step])
        chosen = rng.choice(len(images), count or self._batch, replace=False)
        batch = self._prepared(images[chosen])
        return (batch[:, :, ::-1] if rng.random() < FLIP else batch), tf.constant(labels[chosen])

    def calibration(self, seed: int, batches: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Batches of training images that no step has seen in this order."""
        first = 1_000_000
        return (self.batch(seed, first + n, CALIBRATION_BATCH) for n in range(batches))

    def test(self) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """The test images that count."""
        images, labels = self._test
        for start in range(0, TEST_IMAGES, 500):
            chosen = slice(start, min(start + 500, TEST_IMAGES))
            yield self._prepared(images[chosen]), tf.constant(labels[chosen])

    def _prepared(self, images: np.ndarray) -> tf.Tensor:
        """float32 [N, pixels, pixels, channels] from uint8 [N, 28, 28]."""
        scaled = (images.astype(np.float32) / 255.0 - MEAN) / DEVIATION
        resized = tf.image.resize(scaled[..., None], [self.pixels] * 2)
        return tf.repeat(resized, self._channels, axis=-1)


class Training:
    """One training, and what was saved of it.

    Args:
      variant: Name.
      seed: Of weights, images and subnets.
      folder: Where it is saved.
      pixels: Of the images.
    """

    def __init__(self, variant: str, seed: int, folder: pathlib.Path, pixels: int):
        chosen = self._chosen = VARIANTS[variant]
        keras.utils.set_random_seed(seed)
        self.space = space_of(pixels)
        self.net = QFASupernet(self.space, **chosen.supernet)
        if chosen.sites is not None:
            chosen.sites(self.net)
        optimizer, options = keras.optimizers.SGD, dict(chosen.optimizer)
        if chosen.changed is not None:
            optimizer, total = GradientTerms, sum(STAGE_STEPS)
            options["changed"] = chosen.changed(self.net, total)
        self.net.compile(
            optimizer=optimizer(Rate(chosen.rate), 0.9, nesterov=True, **options),
            training=TrainingIdea(
                stages=(TrainingStage(WITH_FLOAT, STAGE_STEPS[0]), TrainingStage(MIXED)),
                **{
                    "random_subnets": 4,
                    "distillation": "none",
                    "label_smoothing": 0.1,
                    "weight_decay": 3e-5,
                    "clip_norm": 1000.0,
                    "seed": seed,
                    **chosen.training,
                },
            ),
        )
        self.net.optimizer.build(self.net.trainable_variables)
        self.averages = bool(chosen.optimizer.get("use_ema"))
        self._seed = seed
        self._progress_file = folder / "progress.json"
        checkpoint = tf.train.Checkpoint(net=self.net, optimizer=self.net.optimizer)
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=1)
        self.progress = {"step": 0, "seconds": 0.0, "skipped": 0, "norms": [], "losses": []}
        if self._manager.latest_checkpoint:
            checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()
            self.progress |= json.loads(self._progress_file.read_text(encoding="utf-8"))

    def run(self, images: Images) -> str:
        """Trains to the end; "" or `DIVERGED`."""
        method, progress, total = self.net.training_method, self.progress, sum(STAGE_STEPS)
        method.image_source = lambda step: images.batch(self._seed, step)[0]
        columns = (*rich.progress.Progress.get_default_columns(), "{task.fields[status]}")
        with rich.progress.Progress(*columns) as shown:
            task = shown.add_task("training", total=total, completed=progress["step"], status="")
            while progress["step"] < total:
                began = time.perf_counter()
                step = progress["step"]
                if step == STAGE_STEPS[0]:
                    for momentum in self.net.optimizer.momentums:
                        momentum.assign(tf.zeros_like(momentum))
                batch = images.batch(self._seed, step)
                try:
                    metrics = self.net.train_on_batch(*batch, return_dict=True)
                except DivergedError as error:
                    shown.console.print(str(error))
                    return DIVERGED
                norm, loss = float(metrics["gradient_norm"]), float(metrics["largest_loss"])
                progress["step"] += 1
                progress["seconds"] += time.perf_counter() - began
                if method.guard.settle():
                    progress["skipped"] += 1
                else:
                    progress["norms"].append(round(norm, 4))
                    progress["losses"].append(round(loss, 4))
                status = f"loss {loss:.2f} norm {norm:.1f}"
                shown.update(task, completed=progress["step"], status=status)
                if progress["step"] % SAVE_EVERY == 0:
                    self._save()
                    shown.console.print(f"step {progress['step']}: {status}")
        if self.averages:
            self.net.optimizer.finalize_variable_values(self.net.trainable_variables)
        return ""

    def _save(self) -> None:
        write_text(self._progress_file, json.dumps(self.progress))
        self._manager.save(checkpoint_number=self.progress["step"])

    def measure(self, images: Images) -> dict[str, float]:
        """Accuracies in percent."""
        found, count = {}, self._chosen.calibration_batches
        floor = self._chosen.training.get("least_depthwise_bits", 0)
        for name, architecture in rich.progress.track(
            probes(self.space, self._seed, floor).items(), "measuring"
        ):
            batches = images.calibration(self._seed, count)
            calibration = self.net.calibrate(batches, architecture, batches=count)
            result = self.net.evaluate_architecture(architecture, images.test(), calibration)
            found[name] = 100.0 * result["accuracy"]
        return found


def space_of(pixels: int) -> SearchSpace:
    """The space of the comparison, or of the small problem."""
    if pixels == 64:
        return SearchSpace.mobilenet_v3(0.25, resolutions=(pixels,), num_classes=CLASSES)
    return SearchSpace.from_preset(SMALL).replace(name=f"{SMALL}_{pixels}px", resolutions=(pixels,))


def probes(space: SearchSpace, seed: int, least_depthwise_bits: int = 0) -> dict[str, Architecture]:
    """The 16 architectures by name; skipped sites have no bits to raise."""
    columns = [gene.column for gene in space.genes if gene.role == "kernel_size"]
    found = {}
    for bits in MIXED:
        for name in ("smallest", "largest"):
            genome = space.encode(getattr(space, name)(bits=bits))
            genome[columns] = np.where(genome[columns] == 0, 0, 5)  # 0 is a skipped block
            found[f"{name}_{bits}"] = space.decode(genome)
    rng = np.random.default_rng([seed, 1])
    found |= {f"random_{index}": space.sample(rng) for index in range(RANDOM)}
    if least_depthwise_bits:
        raised = depthwise_bits(space)
        for name, architecture in found.items():
            genome = space.encode(architecture)
            chosen = raised & (genome > 0)
            genome[chosen] = np.maximum(genome[chosen], least_depthwise_bits)
            found[name] = space.decode(genome)
    return found


def summary(found: Mapping[str, float]) -> dict[str, float]:
    """The columns of a row from 16 accuracies."""
    random = [value for name, value in found.items() if name.startswith("random_")]
    row = {name: value for name, value in found.items() if not name.startswith("random_")}
    row |= {
        "random_lowest": min(random),
        "random_median": float(np.median(random)),
        "random_highest": max(random),
        "mean": float(np.mean(list(found.values()))),
        "median": float(np.median(list(found.values()))),
        "lowest": min(found.values()),
    }
    return {name: round(value, 2) for name, value in row.items()}


def print_table() -> None:
    """All rows against the official ones."""
    path = results_file.RESULTS / "equal_steps.csv"
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    official = [{"variant": "official release", "seed": s, **row} for s, row in OFFICIAL.items()]
    names = ("variant", "pixels", "seed", *OFFICIAL[0])
    table = rich.table.Table(*names)
    for row in (*official, *rows):
        table.add_row(*(str(row.get(name, "")) for name in names))
    rich.print(table)


def main() -> None:
    """Trains and measures one variant with one seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of weights, images and subnets")
    parser.add_argument("--variant", default="base", choices=VARIANTS, metavar="NAME")
    parser.add_argument("--workdir", default="workdir/equal_steps", help="of all trainings")
    parser.add_argument(
        "--kernels",
        default="native",
        choices=("native", "tensorflow"),
        help="of the training step: compiled on this machine, or TensorFlow's operators",
    )
    parser.add_argument(
        "--pixels",
        type=int,
        default=64,
        choices=BATCHES,
        help="64, as the release was measured, or 20, the small problem",
    )
    parser.add_argument("--list", action="store_true", help="show the variants and end")
    parser.add_argument("--table", action="store_true", help="show all rows and end")
    args = parser.parse_args()
    if args.list:
        for name, variant in VARIANTS.items():
            print(f"{name:28} {variant.what}")
        return
    if args.table:
        print_table()
        return
    skip_graph_rewriting()  # as the programs do
    if args.kernels == "native":
        use_native_kernels()
    images = Images(args.pixels)
    trained_as = VARIANTS[args.variant].trained_as or args.variant
    size = "" if args.pixels == 64 else f"-{args.pixels}px"
    folder = pathlib.Path(args.workdir) / f"{trained_as}-{args.seed}{size}"
    folder.mkdir(parents=True, exist_ok=True)
    training = Training(args.variant, args.seed, folder, args.pixels)
    outcome = training.run(images)
    norms = training.progress["norms"]
    row = {
        "variant": args.variant,
        "pixels": args.pixels,
        "seed": args.seed,
        "kernels": args.kernels,
        "outcome": outcome or "trained",
        "steps": training.progress["step"],
        "skipped_steps": training.progress["skipped"],
        "first_norm": norms[0] if norms else "",
        "median_norm": round(float(np.median(norms)), 2) if norms else "",
        "largest_norm": round(max(norms), 2) if norms else "",
    }
    empty = dict.fromkeys((*OFFICIAL[0], "lowest"), "")
    measured = empty if outcome else summary(training.measure(images))
    row |= {name: measured[name] for name in empty}
    row["minutes"] = round(training.progress["seconds"] / 60, 1)
    results_file.append("equal_steps", row)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
