"""From a config to the objects of a run. TensorFlow is imported when a function needs it."""

import functools
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from qfa_tf.data.augmentation import Augmentation as AugmentationOptions
from qfa_tf.data.options import LoadOptions
from qfa_tf.network.outputs import why_no_logits
from qfa_tf.runs.architecture_files import architecture_text
from qfa_tf.runs.config import calibration_batch_size, per_stage, total_steps
from qfa_tf.runs.errors import ConfigError
from qfa_tf.runs.startup import load_tensorflow
from qfa_tf.space import (
    FLOAT_BITS,
    Architecture,
    ArchitectureError,
    InvalidSpaceError,
    SearchSpace,
)
from qfa_tf.training.options import TrainingOptions
from quantize_configs.errors import InvalidInputError
from quantize_configs.options import options_of

if TYPE_CHECKING:
    import tensorflow as tf

    from qfa_tf.data import Augmentation, DataSplits
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


def build_architecture(config: ConfigDict) -> Architecture | None:
    """The one subnet that is to be trained; None where a supernet is.

    Raises:
      ConfigError: It is damaged, or of another space than that of the config.
    """
    if not config.training.architecture:
        return None
    space = build_space(config)
    try:
        architecture = Architecture.from_json(config.training.architecture)
        return space.decode(space.encode(architecture))
    except ArchitectureError as error:
        raise ConfigError(f"config.training.architecture: {error}") from error


def trained_architecture(config: ConfigDict) -> Architecture | None:
    """The network that the last stage of such a training has: in float its float twin.

    Raises:
      ConfigError: See `build_architecture`.
    """
    architecture = build_architecture(config)
    if architecture is None or not is_float_stage(config, -1):
        return architecture
    return build_space(config).float_twin(architecture)


def is_float_stage(config: ConfigDict, stage: int) -> bool:
    """Whether nothing but sites with fixed bits is quantized in a stage."""
    return tuple(config.training.stage_bits[stage]) == (FLOAT_BITS,)


def with_plain_architecture(config: ConfigDict) -> ConfigDict:
    """A copy in which the text of `training.architecture` does not depend on its formatting.

    Raises:
      ConfigError: See `build_architecture`.
    """
    architecture = build_architecture(config)
    plain = ConfigDict(config.to_dict())
    plain.training.architecture = "" if architecture is None else architecture_text(architecture)
    return plain


def build_data(
    config: ConfigDict,
    *,
    rule: str | None = None,
    skip_damaged: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> "DataSplits":
    """The data set, at the largest resolution of the space; see `open_data` for that of a workdir.

    Args:
      config: Of the run, complete.
      rule: See `qfa_tf.data.load`.
      skip_damaged: The same.
      on_progress: The same.

    Raises:
      ConfigError: There is no such data set, or it does not fit the space.
    """
    load_tensorflow()
    from qfa_tf.data import DataError, load

    space = build_space(config)
    options = _of_section(config.data, LoadOptions)
    try:
        data = load(
            config.data.name,
            space.resolutions[-1],
            skip_damaged=skip_damaged,
            on_progress=on_progress,
            rule=rule,
            **options,
        )
    except DataError as error:
        raise ConfigError(f"config.data: {error}") from error
    _check_fit(config, space, data)
    if config.training.batch_size > len(data.train):
        raise ConfigError(
            f"config.training.batch_size must be at most {len(data.train)}, the number of training "
            f"images. Received: {config.training.batch_size}."
        )
    if calibration_batch_size(config) > len(data.calibration):
        raise ConfigError(
            "config.data.calibration_batch_size (config.training.batch_size where it is 0) must be "
            f"at most {len(data.calibration)}, the number of calibration images. Received: "
            f"{calibration_batch_size(config)}."
        )
    return data


def build_augmentation(config: ConfigDict) -> "Augmentation":
    """What training does to its images.

    Raises:
      ConfigError: A value is not allowed.
    """
    load_tensorflow()
    from qfa_tf.data import Augmentation

    try:
        return Augmentation(**_of_section(config.data, AugmentationOptions))
    except InvalidInputError as error:
        raise ConfigError(f"config.data: {error}") from error


def _of_section(section: ConfigDict, owner: type) -> dict[str, Any]:
    """Values of a section for the options of a class; what is empty is left to their defaults."""
    return {name: section[name] for name in options_of(owner) if section[name]}


def build_batches(
    config: ConfigDict, data: "DataSplits", first_step: int, shard: tuple[int, int] = (0, 1)
) -> "tf.data.Dataset":
    """Training batches from a step on, or the share of one replica of them.

    Args:
      config: Of the run, complete.
      data: Of the run.
      first_step: Number of the first batch.
      shard: Index of the replica and number of replicas.

    Raises:
      ConfigError: The augmentation does not fit the images.
    """
    from qfa_tf.data import training_batches

    try:
        return training_batches(
            data.train,
            config.training.batch_size,
            seed=config.training.seed,
            first_step=first_step,
            augmentation=build_augmentation(config),
            shard=shard,
        )
    except InvalidInputError as error:
        raise ConfigError(f"config.data: {error}") from error


def _check_fit(config: ConfigDict, space: SearchSpace, data: "DataSplits") -> None:
    """Refuses images of other classes or channels than the space has, naming what would fit."""
    has = {"num_classes": data.num_classes, "input_channels": data.train.image_shape[-1]}
    wanted = {key: getattr(space, key) for key in has}
    if has == wanted:
        return
    flags = [f"--recipe.space.{key}={has[key]}" for key in has if has[key] != wanted[key]]
    settable = not isinstance(config.space, str) and all(key in config.space for key in has)
    fitting = f"train with {' '.join(flags)}" if settable else "change config.space"
    raise ConfigError(
        f"The images of {data.name} have {has['num_classes']} classes and {has['input_channels']} "
        f"channels, the space {space.name!r} takes {wanted['num_classes']} and "
        f"{wanted['input_channels']}. For these images {fitting}, or use the recipe "
        "image_folder:DIR, which counts the classes of a folder; or change config.data.name."
    )


def build_net(config: ConfigDict) -> "QFASupernet":
    """The supernet with the first weights of the run, not compiled.

    The seed of the run becomes the global one of Keras, which draws these weights.

    Raises:
      ConfigError: The quantizers contradict each other.
    """
    load_tensorflow()
    from qfa_tf.supernet import QFASupernet
    from quantize_configs.keras_backend import keras

    keras.utils.set_random_seed(config.training.seed)
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for name, value in config.supernet.items()
    }
    space = build_space(config)
    try:
        return QFASupernet(space, **options, dropout=config.training.dropout)
    except InvalidInputError as error:
        raise ConfigError(f"config.supernet: {error}") from error


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
    from qfa_tf.training import OQATraining, QFATraining, TrainingStage

    settings = config.training
    subnets = settings.stage_subnets or ["all"] * len(settings.stage_bits)
    try:
        stages = [
            TrainingStage(tuple(bits), *rest)
            for bits, *rest in zip(settings.stage_bits, settings.stage_steps, subnets, strict=True)
        ]
        make: Callable[..., QFATraining] = QFATraining
        if settings.method == "oqa":
            make = functools.partial(OQATraining, inheritance=settings.inheritance)
        recipe = make(
            stages=tuple(stages),
            architecture=build_architecture(config),
            teacher=teacher,
            **{name: settings[name] for name in options_of(TrainingOptions)},
        )
        if isinstance(recipe, OQATraining):
            quantizers = config.supernet
            recipe.check_supernet(
                build_space(config), quantizers.activation_quantizer, quantizers.shared_step
            )
        return recipe
    except InvalidInputError as error:
        raise ConfigError(f"config.training: {error}") from error


def check_classifier(space: SearchSpace) -> None:
    """Raises ConfigError for networks that a run cannot train: those that do not classify."""
    if why := why_no_logits(space.network):
        raise ConfigError(
            f"Programs and compress train classifiers of images; {space.name!r} is none: {why}. "
            "For other heads use QFASupernet.from_model and compile(loss=...), see "
            "docs/own_network.md."
        )


def check_stage_bits(config: ConfigDict) -> None:
    """Raises ConfigError where a stage lists bits that no subnet of the space can have.

    For one subnet alone only counts whether they are (32,), and OQA has a check of its own.
    """
    if config.training.architecture or config.training.method == "oqa":
        return
    space = build_space(config)
    offered = sorted({*space.weight_bits, *space.activation_bits, FLOAT_BITS})
    for bits in config.training.stage_bits:
        unknown = sorted(set(bits) - set(offered))
        if unknown or not bits:
            raise ConfigError(
                f"config.training.stage_bits must list some of {offered} in each stage, which the "
                f"space {space.name!r} offers ({FLOAT_BITS} is float). Received: {tuple(bits)}."
            )


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
