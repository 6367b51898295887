"""What the config of a run must contain, and its file.

A config is the `ml_collections.ConfigDict` that `get_config()` of a recipe in `configs/` returns.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from qfa_tf.runs.config_fields import FIELDS
from qfa_tf.runs.config_sections import REQUIRED
from qfa_tf.runs.errors import ConfigError
from qfa_tf.space import SearchSpace
from qfa_tf.supernet.options import RELEASE_OPTIONS
from quantize_configs.files import write_text

SCHEMA_VERSION = 2

EARLIER = {
    **{f"supernet.{name}": value for name, value in RELEASE_OPTIONS.items()},
    "supernet.classifier_start": "fan_out",
}
"""What runs had whose config files are older than these keys."""


def complete_config(config: ConfigDict) -> ConfigDict:
    """A copy in which every key that was left out has its default; a SearchSpace becomes fields.

    Raises:
      ConfigError: See `validate_config`.
    """
    validate_config(config)
    completed = with_defaults(config)
    if isinstance(config.space, SearchSpace):
        with completed.ignore_type():
            completed.space = ConfigDict(json.loads(config.space.to_json()))
    return completed


def with_defaults(config: ConfigDict) -> ConfigDict:
    """A copy, not validated, in which every key that has a default and was left out has it."""
    completed = ConfigDict(config.to_dict())
    present = _flatten(completed)
    for key, field in FIELDS.items():
        if key not in present and field.default is not REQUIRED:
            section, _, name = key.rpartition(".")
            if section not in completed:
                completed[section] = ConfigDict()
            completed[section][name] = field.default
    return completed


def validate_config(config: ConfigDict) -> None:
    """Checks that a config has every required key, no unknown one, and values of the right kind.

    Raises:
      ConfigError: Names the key, what it needs and what was received.
    """
    values = _flatten(config)
    missing = [
        key for key, field in FIELDS.items() if field.default is REQUIRED and key not in values
    ]
    unknown = [key for key in values if key not in FIELDS]
    if missing or unknown:
        parts = [f"{verb} {keys}" for verb, keys in (("misses", missing), ("has", unknown)) if keys]
        known = ", which nothing reads" if unknown else ""
        raise ConfigError(
            f"The config {' and '.join(parts)}{known}. See configs/digits.py for a complete one, "
            "and docs/training.md for all keys."
        )
    for key, field in FIELDS.items():
        if key in values:
            field.check(key, values[key])
    _check_training({key: values.get(key, field.default) for key, field in FIELDS.items()})


def _check_training(values: Mapping[str, Any]) -> None:
    """Checks what concerns more than one key, or a bound that is not allowed itself."""

    def of(name):
        return values[f"training.{name}"]

    bits, steps = of("stage_bits"), of("stage_steps")
    if not steps or len(steps) != len(bits):
        raise ConfigError(
            "config.training.stage_steps and stage_bits must have one entry for each stage. "
            f"Received: {steps} and {bits}."
        )
    if of("stage_subnets") and len(of("stage_subnets")) != len(steps):
        raise ConfigError(
            "config.training.stage_subnets must be empty or have one entry for each of the "
            f"{len(steps)} stages. Received: {of('stage_subnets')}."
        )
    rates, warmups = per_stage(of("learning_rate")), per_stage(of("warmup_steps"))
    for name, entries in (("learning_rate", rates), ("warmup_steps", warmups)):
        if entries is not None and len(entries) != len(steps):
            raise ConfigError(
                f"config.training.{name} must be one value or one for each of the {len(steps)} "
                f"stages. Received: {of(name)}."
            )
    whole = rates is None and warmups is None
    lengths = [sum(steps)] if whole else steps
    starts = warmups or [of("warmup_steps")] * len(lengths)
    if any(warmup >= length for warmup, length in zip(starts, lengths, strict=True)):
        what = "their sum" if whole else "the steps of its stage"
        raise ConfigError(
            f"config.training.stage_steps needs warmup_steps below {what}. "
            f"Received: {steps} and {of('warmup_steps')}."
        )
    if (of("distillation") == "external") != bool(of("teacher")):
        raise ConfigError(
            "config.training.distillation='external' and config.training.teacher (a workdir or a "
            f"Keras model file) need each other. Received: {of('distillation')!r} and "
            f"{of('teacher')!r}."
        )


def per_stage(value: Any) -> list | None:
    """The entries of a key that may have one value per stage; None when it has a single one."""
    return list(value) if isinstance(value, Sequence) else None


def total_steps(config: ConfigDict) -> int:
    """Number of training steps."""
    return sum(config.training.stage_steps)


def calibration_batch_size(config: ConfigDict) -> int:
    """Images per calibration batch: what one replica sees in training, the whole batch by default.

    Activation ranges depend on the number of images that they are measured on.
    """
    return config.data.calibration_batch_size or config.training.batch_size


def write_config(config: ConfigDict, path: str | os.PathLike) -> None:
    """Writes a config as JSON, completed by its defaults.

    Raises:
      ConfigError: See `validate_config`.
      FileWriteError: The file cannot be written.
    """
    content = {"schema_version": SCHEMA_VERSION, "config": _plain(complete_config(config))}
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_config(path: str | os.PathLike) -> ConfigDict:
    """Reads what `write_config` wrote.

    Raises:
      ConfigError: The file is damaged, or of another schema version.
    """
    path = pathlib.Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, f"{error}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise _damaged(path, "it holds no config.")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has schema version {content.get('schema_version')!r}; this release reads "
            f"version {SCHEMA_VERSION}. It was left as it is; choose another --workdir."
        )
    config = ConfigDict(content["config"])
    for key, value in EARLIER.items():
        section, _, name = key.rpartition(".")
        if isinstance(config.get(section), ConfigDict) and name not in config[section]:
            config[section][name] = value
    try:
        return complete_config(config)
    except ConfigError as error:
        raise _damaged(path, error) from error


def continued_config(config: ConfigDict, path: str | os.PathLike) -> ConfigDict:
    """A complete copy in which defaults that came later are what the run of a config file had.

    Args:
      config: Valid.
      path: What `write_config` wrote, maybe before some keys existed.

    Raises:
      ConfigError: See `read_config`.
    """
    read_config(path)
    here = complete_config(config)
    written = _flatten(json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["config"])
    for key, value in EARLIER.items():
        section, _, name = key.rpartition(".")
        if key not in written and here[section][name] == FIELDS[key].default:
            here[section][name] = value
    return here


def differences(there: ConfigDict, here: ConfigDict) -> list[tuple[str, Any, Any]]:
    """(key, value there, value here) of every key in which two valid configs differ, in order."""
    values, others = (_flatten(_plain(complete_config(config))) for config in (there, here))
    return [(key, values[key], others[key]) for key in FIELDS if values[key] != others[key]]


def _plain(config: ConfigDict) -> dict:
    """The config in the types that JSON knows, tuples as lists."""
    return json.loads(json.dumps(config.to_dict()))


def _flatten(config: Mapping | ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Maps dotted keys to values; `space` may be a mapping and stays whole."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping | ConfigDict) and name != "space":
            values |= _flatten(value, f"{name}.")
        else:
            values[name] = value
    return values


def _damaged(path: pathlib.Path, reason: object) -> ConfigError:
    return ConfigError(
        f"{path} is damaged: {reason} It was left as it is; restore it from a copy, or choose "
        "another --workdir."
    )
