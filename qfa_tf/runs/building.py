"""From a config to the objects of a run. TensorFlow is imported when a function needs it."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from qfa_tf.runs.config import per_stage, total_steps
from qfa_tf.runs.errors import ConfigError
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.space import InvalidSpaceError, SearchSpace

if TYPE_CHECKING:
    import tensorflow as tf

    from qfa_tf.data import DataSplits
    from qfa_tf.supernet import QFASupernet
    from qfa_tf.training import QFATraining, StagedCosine
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
    from qfa_tf.data import DataError, load

    space = build_space(config)
    try:
        data = load(config.data.name, space.resolutions[-1])
    except DataError as error:
        raise ConfigError(f"config.data.name: {error}") from error
    channels = data.train.image_shape[-1]
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
    return QFASupernet(build_space(config), dropout=config.training.dropout)


def build_training(
    config: ConfigDict, teacher: "Callable[[tf.Tensor], tf.Tensor] | None" = None
) -> "QFATraining":
    """The training recipe.

    Args:
      config: Of the run, complete.
      teacher: From images to logits, when the config asks for an external one.

    Raises:
      ConfigError: A value is not allowed.
    """
    load_tensorflow()
    from qfa_tf.training import QFATraining, TrainingStage

    settings = config.training
    subnets = settings.stage_subnets or ["all"] * len(settings.stage_bits)
    try:
        stages = [
            TrainingStage(tuple(bits), *rest)
            for bits, *rest in zip(settings.stage_bits, settings.stage_steps, subnets, strict=True)
        ]
        return QFATraining(
            stages=tuple(stages),
            random_subnets=settings.random_subnets,
            distillation=settings.distillation,
            distillation_weight=settings.distillation_weight,
            teacher=teacher,
            label_smoothing=settings.label_smoothing,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
            compute_dtype=settings.compute_dtype,
            seed=settings.seed,
        )
    except ValueError as error:
        raise ConfigError(f"config.training: {error}") from error


def build_schedule(config: ConfigDict) -> "StagedCosine":
    """The learning rate: one warm-up and cosine for the whole run, or one for each stage.

    One for each stage where `learning_rate` or `warmup_steps` has a value per stage.
    """
    load_tensorflow()
    from qfa_tf.training import CosineSegment, StagedCosine

    settings = config.training
    rates, warmups = per_stage(settings.learning_rate), per_stage(settings.warmup_steps)
    whole = rates is None and warmups is None
    lengths = [total_steps(config)] if whole else settings.stage_steps
    rates = rates or [settings.learning_rate] * len(lengths)
    warmups = warmups or [settings.warmup_steps] * len(lengths)
    return StagedCosine(
        [
            CosineSegment(steps, rate, warmup, settings.warmup_learning_rate)
            for steps, rate, warmup in zip(lengths, rates, warmups, strict=True)
        ]
    )


def build_optimizer(config: ConfigDict) -> "keras.optimizers.Optimizer":
    """SGD with Nesterov momentum on the schedule of `build_schedule`."""
    schedule = build_schedule(config)
    from quantize_configs.keras_backend import keras

    momentum = config.training.momentum
    return keras.optimizers.SGD(schedule, momentum=momentum, nesterov=bool(momentum))
