"""From a config to the objects of a run. TensorFlow is imported when a function needs it."""

import json
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from qfa_tf.runs.config import total_steps
from qfa_tf.runs.errors import ConfigError
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.space import InvalidSpaceError, SearchSpace

if TYPE_CHECKING:
    from qfa_tf.data import DataSplits
    from qfa_tf.supernet import QFASupernet
    from qfa_tf.training import QFATraining
    from quantize_configs.keras_backend import keras


def build_space(config: ConfigDict) -> SearchSpace:
    """The search space: a preset, or the fields of `SearchSpace.to_json()`.

    Raises:
      ConfigError: There is no such preset, or the fields contradict each other.
    """
    try:
        if isinstance(config.space, str):
            return SearchSpace.from_preset(config.space)
        return SearchSpace.from_json(json.dumps(config.space.to_dict()))
    except InvalidSpaceError as error:
        raise ConfigError(f"config.space: {error}") from error


def build_data(config: ConfigDict) -> "DataSplits":
    """The data set, at the largest resolution of the space.

    Raises:
      ConfigError: There is no such data set, or it does not fit the space.
    """
    load_tensorflow()
    from qfa_tf.data import DATASETS, load_dataset

    space = build_space(config)
    if config.data.name not in DATASETS:
        raise ConfigError(
            f"config.data.name must be one of {sorted(DATASETS)}. Received: {config.data.name!r}."
        )
    data = load_dataset(config.data.name, space.resolutions[-1])
    channels = data.train.images.shape[-1]
    if (data.num_classes, channels) != (space.num_classes, space.input_channels):
        raise ConfigError(
            f"The data set {data.name!r} has {data.num_classes} classes and {channels} channels, "
            f"the space {space.name!r} {space.num_classes} and {space.input_channels}. Change "
            "config.data.name or config.space."
        )
    if config.training.batch_size > min(len(data.train), len(data.calibration)):
        raise ConfigError(
            f"config.training.batch_size must be at most {len(data.calibration)}, the number of "
            f"calibration images. Received: {config.training.batch_size}."
        )
    return data


def build_net(config: ConfigDict) -> "QFASupernet":
    """The supernet with the first weights of the run, not compiled.

    The seed of the run becomes the global one of Keras, which draws these weights.
    """
    load_tensorflow()
    from qfa_tf.supernet import QFASupernet
    from quantize_configs.keras_backend import keras

    keras.utils.set_random_seed(config.training.seed)
    return QFASupernet(build_space(config))


def build_training(config: ConfigDict) -> "QFATraining":
    """The training recipe.

    Raises:
      ConfigError: A value is not allowed.
    """
    from qfa_tf.training import QFATraining, TrainingStage

    settings = config.training
    try:
        stages = [
            TrainingStage(tuple(bits), steps)
            for bits, steps in zip(settings.stage_bits, settings.stage_steps, strict=True)
        ]
        return QFATraining(
            stages=tuple(stages),
            random_subnets=settings.random_subnets,
            distillation=settings.distillation,
            label_smoothing=settings.label_smoothing,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
            seed=settings.seed,
        )
    except ValueError as error:
        raise ConfigError(f"config.training: {error}") from error


def build_optimizer(config: ConfigDict) -> "keras.optimizers.Optimizer":
    """SGD with Nesterov momentum: linear warm-up, then a cosine down to 0 at the last step."""
    from quantize_configs.keras_backend import keras

    settings = config.training
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if settings.warmup_steps else settings.learning_rate,
        decay_steps=total_steps(config) - settings.warmup_steps,
        warmup_target=settings.learning_rate if settings.warmup_steps else None,
        warmup_steps=settings.warmup_steps,
    )
    return keras.optimizers.SGD(
        schedule, momentum=settings.momentum, nesterov=bool(settings.momentum)
    )
