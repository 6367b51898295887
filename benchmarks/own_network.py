r"""A ResNet-20 for Fashion-MNIST, compressed to a quarter of the bytes of TFLite's 8-bit file.

    apt-get install dataset-fashion-mnist
    python benchmarks/own_network.py

Parts, each of which goes on where it was when the program is killed and started again (`--only`
names some of them):

- float: the network of He et al. (https://arxiv.org/abs/1512.03385, section 4.2) at 28 px, trained
  for `FLOAT_STEPS` steps of 32 images, and TFLite's full-integer file of it (tflite_8);
- compressed: `qfa_tf.compress` with a quarter of those bytes, `STEPS` steps, the last half of which
  trains the chosen subnet alone;
- uniform_4, uniform_3, uniform_2: the float network through `quantize_configs.quantize` with so
  many bits for weights and inputs (8 at the ends), trained by `STEPS` steps with the same loss;
- mobilenet_v3: a subnet of the MobileNetV3 preset `fashion_mnist` of about as many bytes as the
  compressed file, alone and from random weights, by as many steps as the float network and the
  compression together.

All see the same training images, flipped or not. Accuracies are those of the files in LiteRT on
the 10,000 test images. Replaces the row of each part in benchmarks/results/own_network.csv.
"""

import argparse
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import results_file
import rich.progress
import tensorflow as tf
from ml_collections import ConfigDict

import qfa_tf
import tflite_tools
from qfa_tf import CostModel, SearchSpace
from qfa_tf.compression.baselines import FLOAT, TFLITE, baselines, litert_accuracy
from qfa_tf.data import Augmentation, DataSplits, batches, load, training_batches
from qfa_tf.runs.startup import skip_graph_rewriting
from qfa_tf.search.intervals import wilson
from quantize_configs import BitPolicy, calibrate, prepare_for_deployment, quantize
from quantize_configs.files import write_bytes, write_text
from quantize_configs.keras_backend import keras

layers = keras.layers
DATA = "idx:/usr/share/datasets/fashion-mnist"
SPLITS = {"search_validation": 3000, "calibration": 512}
SIZE, CLASSES, BATCH, SEED = 28, 10, 32, 0
FLOAT_STEPS, STEPS = 1000, 1000
FLOAT_RATE, RATE, WARMUP, CLIP_NORM, SAVE_EVERY = 0.08, 0.02, 100, 5.0, 100
SHARE = 4
"""Of the bytes of TFLite's file."""
SPACE = {
    "weight_bits": (4, 8),
    "activation_bits": (8,),
    "width_ratios": (0.25, 0.5, 0.75, 1.0),
}
SEARCH = {"population": 12, "generations": 4}
CANDIDATES = 4096
"""Random subnets of MobileNetV3, of which the one with most work in about our bytes is taken."""


def resnet20() -> keras.Model:
    """Three stages of three blocks with 16, 32 and 64 channels; logits."""
    inputs = keras.Input((SIZE, SIZE, 1), name="image")
    x = _convolution(inputs, 16, 3, 1, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, width in enumerate((16, 32, 64), 1):
        for block in range(1, 4):
            name, stride = f"s{stage}_b{block}", 2 if stage > 1 and block == 1 else 1
            y = _convolution(x, width, 3, stride, f"{name}_first")
            y = layers.ReLU(name=f"{name}_first_relu")(y)
            y = _convolution(y, width, 3, 1, f"{name}_second")
            if stride > 1:
                x = _convolution(x, width, 1, stride, f"{name}_shortcut")
            x = layers.Add(name=f"{name}_sum")([y, x])
            x = layers.ReLU(name=f"{name}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="classifier")(x), name="resnet20")


def _convolution(x: Any, width: int, size: int, stride: int, name: str) -> Any:
    x = layers.Conv2D(width, size, stride, padding="same", use_bias=False, name=name)(x)
    return layers.BatchNormalization(name=f"{name}_norm")(x)


class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up, the first half of a cosine, and in the last two fifths linearly to 0.

    Args:
      largest: Reached after the warm-up.
      steps: Of the training.
    """

    def __init__(self, largest: float, steps: int):
        self._largest, self._steps = largest, steps

    def __call__(self, step):
        """Learning rate of a step, float32 scalar."""
        step = tf.cast(step, tf.float32)
        cosine = (1.0 + tf.cos(np.pi * step / (2 * self._steps))) / 2.0
        fall = tf.minimum(1.0, (self._steps - step) / (0.4 * self._steps))
        return self._largest * tf.minimum(1.0, (step + 1.0) / WARMUP) * cosine * fall

    def get_config(self):
        """Constructor arguments."""
        return {"largest": self._largest, "steps": self._steps}


def soft_cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """As the supernet has it: the targets are labels, or labels plus what a teacher answers."""
    return -tf.reduce_sum(targets * tf.nn.log_softmax(logits), -1)


class Meter:
    """Processor minutes of a part, over all times that it was started.

    Args:
      path: Where they are kept.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._before = json.loads(path.read_text()) if path.exists() else 0.0
        self._start = time.process_time()

    def save(self) -> float:
        """Minutes so far."""
        found = self._before + (time.process_time() - self._start) / 60
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._path, json.dumps(found))
        return found


def train(
    model: keras.Model,
    data: DataSplits,
    folder: pathlib.Path,
    rate: float,
    steps: int,
    teacher: keras.Model | None = None,
) -> None:
    """Trains to the last step, from the newest checkpoint in the folder."""
    schedule = Rate(rate, steps)
    optimizer = keras.optimizers.SGD(schedule, 0.9, nesterov=True, global_clipnorm=CLIP_NORM)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, soft_cross_entropy)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=1)
    meter = Meter(folder / "minutes.json")
    if manager.latest_checkpoint:
        checkpoint.restore(manager.latest_checkpoint).assert_existing_objects_matched()
    first = int(optimizer.iterations)
    stream = training_batches(
        data.train, BATCH, seed=SEED, first_step=first, augmentation=Augmentation(flip=True)
    )
    answers = tf.function(teacher) if teacher is not None else None
    bar = rich.progress.track(range(first, steps), folder.name)
    losses = []
    for step, (images, labels) in zip(bar, stream, strict=False):
        targets = tf.one_hot(labels, CLASSES)
        if answers is not None:
            targets += tf.nn.softmax(answers(images, training=False))
        losses.append(model.train_on_batch(images, targets))
        if (step + 1) % SAVE_EVERY == 0:
            print(f"{folder.name} step {step + 1}: loss {np.mean(losses):.3f}", flush=True)
            losses.clear()
            manager.save(checkpoint_number=step + 1)
            meter.save()


class Experiment:
    """The parts, over one workdir.

    Args:
      folder: The workdir.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._data = load(DATA, SIZE, **SPLITS)

    @property
    def parts(self) -> dict[str, Callable[[], None]]:
        """What can be run, in order."""
        uniform = {
            f"uniform_{bits}": lambda bits=bits: self.train_uniform(bits) for bits in (4, 3, 2)
        }
        return {
            "float": self.train_float,
            "compressed": self.compress,
            **uniform,
            "mobilenet_v3": self.train_mobilenet_v3,
        }

    def train_float(self) -> None:
        """The float network and TFLite's file of it."""
        path = self.model_file
        folder = self._folder / "float"
        if not path.exists():
            keras.utils.set_random_seed(SEED)
            model = resnet20()
            train(model, self._data, folder, FLOAT_RATE, FLOAT_STEPS)
            model.save(path)
        found = baselines(self.model(), self._data)
        integers = found[TFLITE].flatbuffer
        assert integers is not None, "TFLite's converter takes a ResNet"
        minutes = json.loads((folder / "minutes.json").read_text())
        weights = sum(int(np.prod(weight.shape)) for weight in _kernels(self.model()))
        self._write("float", found[FLOAT].accuracy, 4 * weights, 0, FLOAT_STEPS, minutes)
        self._write("tflite_8", found[TFLITE].accuracy, weights, len(integers), 0, 0.0)
        write_text(self._folder / "tflite_8.json", json.dumps({"bytes": len(integers)}))

    def compress(self) -> None:
        """Our subnet of a quarter of the bytes."""
        meter = Meter(self._folder / "compressed.json")
        try:
            found = qfa_tf.compress(
                str(self.model_file),
                DATA,
                budget=f"{self._tflite_bytes / SHARE:.0f} B",
                steps=STEPS,
                workdir=self._folder / "compressed",
                batch_size=BATCH,
                learning_rate=RATE,
                space=SPACE,
                overrides={"flip": True, "random_subnets": 1, "probe_epochs": 0, **SPLITS},
                **SEARCH,
            )
        finally:
            minutes = meter.save()
        record = found.record
        write_text(self._folder / "compressed_bytes.json", json.dumps(record.file_bytes))
        self._write(
            "compressed",
            record.accuracy["litert"],
            round(record.cost["weight_bytes"]),
            record.file_bytes,
            STEPS,
            minutes,
            record.verification["mismatches"],
        )

    def train_uniform(self, bits: int) -> None:
        """The float network with equal bits everywhere but at the ends."""
        name, teacher = f"uniform_{bits}", self.model()
        ends = {"stem": (8, 8), "classifier": (8, 8)}
        model = quantize(teacher, BitPolicy((bits, bits), ends))
        train(model, self._data, self._folder / name, RATE, STEPS, teacher)
        calibrate(model, self._calibration())
        prepare_for_deployment(model)
        flatbuffer = tflite_tools.convert(model)
        write_bytes(self._folder / f"{name}.tflite", flatbuffer)
        images = next(iter(batches(self._data.test, 16)))[0].numpy()
        report = tflite_tools.verify(flatbuffer, model, images)
        weights = 0.0
        for layer in teacher.layers:
            if isinstance(layer, layers.Conv2D | layers.Dense):
                own = 8 if layer.name in ends else bits
                weights += int(np.prod(layer.kernel.shape)) * own / 8
        self._write(
            name,
            litert_accuracy(flatbuffer, self._data.test),
            round(weights),
            len(flatbuffer),
            STEPS,
            json.loads((self._folder / name / "minutes.json").read_text()),
            report.mismatches,
        )

    def train_mobilenet_v3(self) -> None:
        """A MobileNetV3 alone, of about the bytes of the compressed file."""
        most = json.loads((self._folder / "compressed_bytes.json").read_text())
        space = SearchSpace.from_preset("fashion_mnist").replace(
            name="mobilenet_v3_28px",
            resolutions=(SIZE,),
            weight_bits=(4, 8),
            activation_bits=(8,),
        )
        genomes = space.sample_genomes(np.random.default_rng(SEED), CANDIDATES)
        costs = CostModel(space).evaluate(genomes, ["tflite_bytes"])
        work = np.where(costs["tflite_bytes"] <= most, costs["macs"], 0.0)
        if not work.any():
            raise SystemExit(f"None of {CANDIDATES} subnets of {space.name} has {most:,} bytes.")
        architecture = space.decode(genomes[int(np.argmax(work))])
        folder = self._folder / "mobilenet_v3"
        chosen = folder.with_suffix(".architecture.json")
        write_text(chosen, architecture.to_json())
        meter = Meter(folder.with_suffix(".minutes.json"))
        try:
            qfa_tf.train(folder, _mobilenet_config(space), architecture_file=chosen)
            record = qfa_tf.export(folder, architecture_file=chosen)
        finally:
            minutes = meter.save()
        self._write(
            "mobilenet_v3",
            record.accuracy["litert"],
            round(record.cost["weight_bytes"]),
            record.file_bytes,
            FLOAT_STEPS + STEPS,
            minutes,
            record.verification["mismatches"],
        )

    @property
    def model_file(self) -> pathlib.Path:
        """Where the float network is kept."""
        return self._folder / "resnet20.keras"

    def model(self) -> keras.Model:
        """The float network."""
        return keras.models.load_model(self.model_file, compile=False)

    @property
    def _tflite_bytes(self) -> int:
        return json.loads((self._folder / "tflite_8.json").read_text())["bytes"]

    def _calibration(self) -> Iterator[np.ndarray]:
        for images, _ in batches(self._data.calibration, BATCH):
            yield images.numpy()

    def _write(
        self,
        name: str,
        accuracy: float,
        weight_bytes: int,
        file_bytes: int,
        steps: int,
        minutes: float,
        mismatches: int | str = "",
    ) -> None:
        images = len(self._data.test)
        low, high = wilson(accuracy, images)
        row = {
            "network": name,
            "steps": steps,
            "test_images": images,
            "test_accuracy": round(100 * accuracy, 2),
            "low": round(100 * low, 2),
            "high": round(100 * high, 2),
            "weight_bytes": weight_bytes,
            "file_bytes": file_bytes or "",
            "mismatches": mismatches,
            "processor_minutes": round(minutes, 1),
        }
        print(json.dumps(row), flush=True)
        results_file.replace("own_network", "network", row)


def _kernels(model: keras.Model) -> list[tf.Variable]:
    return [
        layer.kernel for layer in model.layers if isinstance(layer, layers.Conv2D | layers.Dense)
    ]


def _mobilenet_config(space: SearchSpace) -> ConfigDict:
    return ConfigDict(
        {
            "space": space,
            "data": {"name": DATA, "calibration_batches": 8, "flip": True, **SPLITS},
            "training": {
                "batch_size": BATCH,
                "steps_per_epoch": 100,
                "stage_bits": ((32,), (4, 8)),
                "stage_steps": (FLOAT_STEPS, STEPS),
                "learning_rate": (FLOAT_RATE, RATE),
                "warmup_steps": (WARMUP, WARMUP),
                "momentum": 0.9,
                "clip_norm": CLIP_NORM,
                "weight_decay": 0.0,
                "random_subnets": 0,
                "distillation": "none",
                "label_smoothing": 0.0,
                "probe_epochs": 0,
                "seed": SEED,
            },
            "search": {"constraints": ("tflite_bytes<=1e12",), "objective": "tflite_bytes"},
        }
    )


def main() -> None:
    """Runs the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", default="workdir/own_network", help="of all parts")
    parser.add_argument("--only", nargs="+", metavar="PART", help="some parts, in this order")
    args = parser.parse_args()
    skip_graph_rewriting()  # as the programs do
    folder = pathlib.Path(args.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    parts = Experiment(folder).parts
    if unknown := sorted(set(args.only or ()) - set(parts)):
        parser.error(f"--only takes some of {', '.join(parts)}. Received: {', '.join(unknown)}.")
    for name in args.only or parts:
        parts[name]()


if __name__ == "__main__":
    main()
