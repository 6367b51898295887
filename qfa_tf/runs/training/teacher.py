"""The external teacher of a training: a frozen supernet of another run, or a Keras model file."""

import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from qfa_tf.runs.building import trained_architecture
from qfa_tf.runs.checkpoints import restore
from qfa_tf.runs.config import calibration_batch_size
from qfa_tf.runs.errors import ConfigError, RunError, WorkdirError
from qfa_tf.runs.measurement import Measurement
from qfa_tf.runs.workdir import Workdir
from qfa_tf.space import FLOAT_BITS
from quantize_configs.files import write_text

if TYPE_CHECKING:
    import tensorflow as tf

    from qfa_tf.data import DataSplits

SCHEMA_VERSION = 1
_WHERE = "config.training.teacher"


def build_teacher(
    config: ConfigDict, workdir: Workdir, data: "DataSplits", writes: bool = True
) -> "Callable[[tf.Tensor], tf.Tensor] | None":
    """From training images to the logits of the teacher; None when the config has no external one.

    The teacher of a workdir is the largest float subnet of its supernet, or the subnet that was
    trained alone there, with statistics measured on the calibration images of this run.
    `teacher.json` notes which weights it has, so that a resumed run continues with the same.

    Args:
      config: Of the run, complete.
      workdir: Of the run.
      data: Of the run.
      writes: Whether this process writes files.

    Raises:
      ConfigError: There is no teacher, or it does not fit the data.
      WorkdirError: It is not the one that this run began with.
      CheckpointError: Its checkpoint is damaged.
    """
    if config.training.distillation != "external":
        return None
    path = pathlib.Path(config.training.teacher)
    if Workdir(path).config_file.is_file():
        function, key = _supernet_teacher(config, path, data)
    elif path.exists():
        function, key = _keras_teacher(path)
    else:
        raise ConfigError(
            f"{_WHERE} must be the workdir of a trained supernet or a Keras model file (.keras, "
            f".h5 or a SavedModel folder). There is no {path}."
        )
    _check_outputs(function, data)
    _note(workdir, key, writes)
    return function


def float_teacher(
    workdir: Workdir, data: "DataSplits"
) -> "Callable[[tf.Tensor], tf.Tensor] | None":
    """The Keras model file that taught a run, from images to logits; None for any other run.

    Raises:
      ConfigError: It is not there any more, or does not fit the data.
      WorkdirError: It is not the one that the run began with.
    """
    config = workdir.config()
    path = pathlib.Path(config.training.teacher)
    if config.training.distillation != "external" or Workdir(path).config_file.is_file():
        return None
    return build_teacher(config, workdir, data, writes=False)


def _supernet_teacher(config, path: pathlib.Path, data):
    try:
        net, key = restore(Workdir(path))
    except RunError as error:
        raise ConfigError(f"{_WHERE}: {error}") from error
    space = net.space
    if (space.input_channels, space.num_classes) != (data.train.image_shape[-1], data.num_classes):
        raise ConfigError(
            f"{_WHERE} has {space.input_channels} channels and {space.num_classes} classes, the "
            f"data {data.train.image_shape[-1]} and {data.num_classes}."
        )
    measurement = Measurement(data, calibration_batch_size(config), config.data.calibration_batches)
    alone = trained_architecture(Workdir(path).config())
    architecture = space.largest(bits=FLOAT_BITS) if alone is None else alone
    calibration = measurement.calibrate(net, architecture)
    genome = space.encode(architecture)
    return lambda images: net(images, genome=genome, calibration=calibration), key


def _keras_teacher(path: pathlib.Path):
    from quantize_configs.keras_backend import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise ConfigError(
            f"{_WHERE} {path} is no model that tf_keras can load: {str(error).splitlines()[0]}"
        ) from error
    model.trainable = False
    return _as_logits(model), _digest(path)


def _as_logits(model) -> "Callable[[tf.Tensor], tf.Tensor]":
    """Resizes images to what the model wants; probabilities become their logarithms."""
    import tensorflow as tf

    from quantize_configs.keras_backend import keras

    size = model.input_shape[1:3]
    last = getattr(model.layers[-1], "activation", None)
    gives_probabilities = last is keras.activations.softmax or isinstance(
        model.layers[-1], keras.layers.Softmax
    )

    def logits(images):
        if None not in size:
            images = tf.image.resize(images, size)
        outputs = tf.cast(model(images, training=False), tf.float32)
        if gives_probabilities:
            return tf.math.log(tf.maximum(outputs, 1e-30))
        return outputs

    return logits


def _check_outputs(function, data) -> None:
    import tensorflow as tf

    images = tf.zeros([2, *data.train.image_shape])
    try:
        shape = tuple(function(images).shape)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise ConfigError(
            f"{_WHERE} does not accept images of the shape {data.train.image_shape}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    if shape != (2, data.num_classes):
        raise ConfigError(
            f"{_WHERE} must give one logit for each of the {data.num_classes} classes. It gives "
            f"the shape {shape} for two images."
        )


def _note(workdir: Workdir, key: str, writes: bool) -> None:
    """Writes the key of the teacher, or compares it with the one of an earlier start."""
    if workdir.teacher_file.is_file():
        try:
            noted = json.loads(workdir.teacher_file.read_text(encoding="utf-8"))["key"]
        except (ValueError, KeyError, TypeError) as error:
            raise WorkdirError(
                f"{workdir.teacher_file} is damaged ({error}). It was left as it is; remove it to "
                "continue with the teacher as it is now."
            ) from error
        if noted != key:
            raise WorkdirError(
                f"{_WHERE} has other weights ({key}) than when this run began ({noted}). Restore "
                f"them, or remove {workdir.teacher_file} to continue with the new ones."
            )
    elif writes:
        content = {"schema_version": SCHEMA_VERSION, "key": key}
        write_text(workdir.teacher_file, json.dumps(content, indent=1) + "\n")


def _digest(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return f"file-{digest.hexdigest()[:12]}"
