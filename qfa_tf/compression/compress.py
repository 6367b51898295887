"""The one call that does it all, see `compress`."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import rich.console
from ml_collections import ConfigDict

from qfa_tf.compression.baselines import baselines
from qfa_tf.compression.budget import constraints_of, parse_budget, require_attainable
from qfa_tf.compression.comparison import Comparison, read_comparison, rows_of
from qfa_tf.cost import CostModel
from qfa_tf.cost.deployment_costs import TFLITE_BYTES
from qfa_tf.latency.measurement import TableSettings, measure_latency_table
from qfa_tf.runs.architecture_files import write_architecture
from qfa_tf.runs.building import check_classifier
from qfa_tf.runs.errors import ConfigError, WorkdirError
from qfa_tf.runs.exporting.budget import terms_of_file
from qfa_tf.runs.exporting.run import fitting_subnet
from qfa_tf.runs.exporting.terms import broken_terms
from qfa_tf.runs.functions import export, finetune, search_subnets, train
from qfa_tf.runs.messages import new_console, say
from qfa_tf.runs.requirements import require_packages
from qfa_tf.runs.run_data import open_data
from qfa_tf.runs.selection import Member
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import SearchSpace
from quantize_configs.errors import InvalidInputError
from quantize_configs.files import replacing

if TYPE_CHECKING:
    from qfa_tf.runs.exporting.records import ModelRecord

MODEL, DATA, TABLE, NAME = "float_model.keras", "data.npz", "host.json", "compressed"
CHOSEN, COMPARISON = "architecture.json", "comparison.json"
TUNING_SHARE = 0.5
MOST_STEPS_PER_EPOCH = 100
OTHER_HEADS = "For other heads use QFASupernet.from_model and compile(loss=...)."


@dataclasses.dataclass(frozen=True)
class Compression:
    """What `compress` made.

    Attributes:
      workdir: Of the exported network.
      record: Of the exported network: file, costs, accuracies, verification.
      comparison: It, the float model and TFLite's 8 bits by accuracy, bytes and latency; in the
        workdir of the compression as `comparison.md` and `.json`.
    """

    workdir: Workdir
    record: "ModelRecord"
    comparison: Comparison

    def __str__(self) -> str:
        return str(self.comparison)


def compress(
    model: Any,
    train_data: str | tuple[np.ndarray, np.ndarray],
    *,
    budget: str,
    steps: int,
    workdir: str | os.PathLike,
    batch_size: int = 64,
    learning_rate: float = 0.02,
    tuning_share: float = TUNING_SHARE,
    generations: int = 12,
    population: int = 40,
    pixel_range: tuple[float, float] = (0.0, 1.0),
    space: Mapping[str, Any] = MappingProxyType({}),
    overrides: Mapping[str, Any] = MappingProxyType({}),
    native_kernels: str = "auto",
    table: TableSettings | None = None,
    console: rich.console.Console | None = None,
) -> Compression:
    """Makes a supernet of a trained model, trains and searches it, and exports what fits a budget.

    The model is the first state of the supernet and its teacher. With the last part of the steps
    the chosen subnet is trained alone, by the same teacher; where that brings nothing on the images
    of the search, it is exported as the supernet has it. All is kept in the workdir: the same call
    continues after a kill, and does nothing twice.

    Args:
      model: Functional `tf_keras` classifier, or the path of one.
      train_data: (images, labels), labels integers [N] or [N, 1] or one-hot rows [N, classes]; or
        the name of a data set as `qfa_tf.data.load` takes it.
      budget: Such as "2 MB and 8 ms"; latencies are those of this machine, one thread.
      steps: Of the training, all in all.
      workdir: Folder of the run, made if missing.
      batch_size: Of the training.
      learning_rate: Its largest value, and that of the tuning.
      tuning_share: Share of the steps that train the chosen subnet alone; 0 leaves that out.
      generations: Of the search.
      population: Of the search.
      pixel_range: See `SearchSpace.from_model`.
      space: Options of `SearchSpace.from_model`.
      overrides: Keys of the config of the run, such as {"random_subnets": 1}.
      native_kernels: "auto", "on" or "off"; see `runs.train`.
      table: How latencies are measured, where the budget has one.
      console: For progress.

    Raises:
      ConfigError: The budget or a setting is refused, labels or images do not fit the model, or no
        subnet is so small or so fast; the sentence has the attainable bound. Nothing was trained.
      UnsupportedError: A layer of the model has no elastic counterpart.
      RunError and others: See `train`, `search_subnets` and `export`.
      MissingExtraError: What the search and the export need is not installed.
    """
    require_packages("Compressing", "ai_edge_litert", "flatbuffers", "pymoo", "matplotlib")
    console = console or new_console()
    size, latency = parse_budget(budget)
    if not 0 <= tuning_share < 1:
        raise ConfigError(
            f"tuning_share is a part of the steps, from 0 to below 1. Received: {tuning_share}."
        )
    say(console, "Loading TensorFlow and the model.")
    load_tensorflow()
    from qfa_tf.keras_models.loading import as_model, of_unit_pixels

    model = of_unit_pixels(as_model(model), pixel_range)
    options = {"weight_bits": (2, 4, 8), **space}
    found = SearchSpace.from_model(model, **options)
    check_classifier(found)
    if not isinstance(train_data, str):
        train_data = _fitting(found, train_data)
    most: dict[str, float] = {}
    tables: list[str] = []
    cost = CostModel(found)
    if size is not None:
        require_attainable(cost, TFLITE_BYTES, size, "bytes")
        most[TFLITE_BYTES] = size
    folder = Workdir(workdir).path
    model_file = _keep_model(model, folder / MODEL)
    data = train_data if isinstance(train_data, str) else _keep_data(train_data, folder / DATA)
    per_epoch = overrides.get("steps_per_epoch", max(1, min(MOST_STEPS_PER_EPOCH, steps // 4)))
    tuning_epochs = int(tuning_share * steps) // per_epoch
    supernet_steps = steps - tuning_epochs * per_epoch
    config = _config(found, str(model_file), data, supernet_steps, batch_size, learning_rate)
    config.training.steps_per_epoch = per_epoch
    run = folder / "run"
    say(console, str(found.describe()).splitlines()[0])
    if latency is not None:
        path = folder / TABLE
        measured, _ = measure_latency_table(path, found, settings=table, console=console)
        metric = f"latency_ms@{measured.name}"
        cost = CostModel(found, latency_tables={measured.name: measured})
        require_attainable(cost, metric, latency, "ms")
        tables.append(str(path))
        most[metric] = latency
    train(run, config, native_kernels=native_kernels, console=console, **overrides)
    settings: dict[str, Any] = {
        "constraints": constraints_of(cost, most),
        "latency_tables": tables,
        "population": population,
        "generations": generations,
        "sensitivity": False,  # for a report alone, and as dear as a generation
    }
    search_subnets(run, name=NAME, workers=0, console=console, **settings)
    where, record, untuned = Workdir(run), None, None
    if tuning_epochs:
        member = fitting_subnet(where, NAME, console)
        chosen = folder / CHOSEN
        write_architecture(member.result.architecture(member.candidate), chosen)
        tuned = finetune(
            run,
            architecture_file=chosen,
            epochs=tuning_epochs,
            learning_rate=learning_rate,
            native_kernels=native_kernels,
            console=console,
        )
        record = _tuned(tuned.workdir, member, console) if tuned.gain > 0 else None
        if record is not None:
            where, untuned = tuned.workdir, (tuned.unseen or (tuned.before,))[0].accuracy
    if record is None:
        record = export(run, search=NAME, console=console)
    path = folder / COMPARISON
    comparison = read_comparison(path, record.file_sha256)
    if comparison is None:
        say(console, "Measuring the float model and TFLite's 8 bits beside it.")
        data_set = open_data(Workdir(run), Workdir(run).config())
        own = (record.name, record.accuracy["litert"], record.check_file(where).read_bytes())
        rows = rows_of(baselines(model, data_set), own, untuned)
        comparison = Comparison(record.file_sha256, len(data_set.test), rows)
        comparison.write(path)
    result = Compression(where, record, comparison)
    say(console, str(result))
    return result


def _tuned(workdir: Workdir, member: Member, console: rich.console.Console) -> "ModelRecord | None":
    """The file of the tuned subnet, with the budget of the search; None where it breaks that."""
    record = export(workdir.path, console=console)
    record = dataclasses.replace(record, budget=terms_of_file(member, record.file_bytes))
    record.write(workdir)
    for term in record.budget:
        say(console, f"Budget: {term}")
    return None if broken_terms(record.budget) else record


def _fitting(
    space: SearchSpace, pair: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Images and integer labels [N]; refuses what the model cannot have been made for."""
    from qfa_tf.data.sources import ArrayImages

    images, labels = (np.asarray(array) for array in pair)
    channels, classes = space.input_channels, space.num_classes
    if images.ndim != 4 or images.shape[-1] != channels:
        raise ConfigError(
            f"The model reads images [N, height, width, {channels}]. Received: {images.shape}."
        )
    fits = labels.shape[1:] in ((), (1,), (classes,)) and len(labels) == len(images)
    if not fits or not len(labels):
        raise ConfigError(
            f"compress takes a classifier and integer labels [{len(images)}], or one-hot rows "
            f"[{len(images)}, {classes}]. Received: {labels.dtype} {labels.shape}. {OTHER_HEADS}"
        )
    try:
        source = ArrayImages(images, labels)
    except InvalidInputError as error:
        raise ConfigError(f"{error} {OTHER_HEADS}") from error
    labels = source.labels(np.arange(len(source)))
    if labels.min() < 0 or labels.max() != classes - 1:
        raise ConfigError(
            f"The model has {classes} outputs, one for each class from 0 to {classes - 1}. "
            f"Received: labels from {labels.min()} to {labels.max()}."
        )
    return source.images, labels


def _keep_model(model: Any, path: pathlib.Path) -> pathlib.Path:
    """Saves the model, or checks that it is the one that the workdir has."""
    from quantize_configs.keras_backend import keras

    if path.exists():
        known = keras.models.load_model(path, compile=False).get_weights()
        own = model.get_weights()
        if len(known) != len(own) or not all(map(np.array_equal, known, own)):
            raise WorkdirError(f"{path.parent} was made from another model. Take another workdir.")
        return path
    with replacing(path) as temporary:
        model.save(temporary)
    return path


def _keep_data(pair: tuple[np.ndarray, np.ndarray], path: pathlib.Path) -> str:
    images, labels = (np.asarray(array) for array in pair)
    if path.exists():
        with np.load(path) as known:
            same = np.array_equal(known["images"], images) and np.array_equal(
                known["labels"], labels
            )
        if not same:
            raise WorkdirError(f"{path.parent} was made with other images. Take another workdir.")
    else:
        with replacing(path) as temporary:
            np.savez(temporary, images=images, labels=labels)
    return f"npz:{path.absolute()}"


def _config(
    space: SearchSpace, model: str, data: str, steps: int, batch_size: int, learning_rate: float
) -> ConfigDict:
    """The run: quantized from the first step, taught by the model."""
    bits = tuple(sorted({*space.weight_bits, *space.activation_bits}))
    config = ConfigDict()
    config.space = space
    config.data = ConfigDict({"name": data, "calibration_batches": 8})
    config.training = ConfigDict(
        {
            "batch_size": batch_size,
            "stage_bits": (bits,),
            "stage_steps": (steps,),
            "learning_rate": learning_rate,
            "warmup_steps": min(50, steps // 10),
            "momentum": 0.9,
            "clip_norm": 5.0,
            "weight_decay": 0.0,
            "random_subnets": 2,
            "distillation": "external",
            "teacher": model,
            "initial_checkpoint": model,
            "label_smoothing": 0.0,
            "seed": 0,
        }
    )
    config.search = ConfigDict(
        {
            "constraints": ("tflite_bytes<=1e12",),
            "objective": "tflite_bytes",
            "population": 40,
            "generations": 12,
            "max_bits": 8,
            "seed": 0,
        }
    )
    return config
