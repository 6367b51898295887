"""What the config of a run must contain, and its file.

A config is the `ml_collections.ConfigDict` that `get_config()` of a recipe in `configs/` returns.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from qfa_tf.runs.errors import ConfigError
from quantize_configs.files import write_text

SCHEMA_VERSION = 1

_KINDS = {
    "space": "the name of a preset or the fields of SearchSpace.to_json()",
    "int": "an int",
    "number": "a number",
    "string": "a string",
    "ints": "a tuple of ints",
    "strings": "a tuple of strings",
    "tuples of ints": "a tuple of tuples of ints",
}

_FIELDS = {
    "space": "space",
    "data.name": "string",
    "data.max_shift": "int",
    "data.calibration_batches": "int",
    "training.batch_size": "int",
    "training.steps_per_epoch": "int",
    "training.stage_bits": "tuples of ints",
    "training.stage_steps": "ints",
    "training.learning_rate": "number",
    "training.warmup_steps": "int",
    "training.momentum": "number",
    "training.clip_norm": "number",
    "training.weight_decay": "number",
    "training.random_subnets": "int",
    "training.distillation": "number",
    "training.label_smoothing": "number",
    "training.seed": "int",
    "search.constraints": "strings",
    "search.objective": "string",
    "search.population": "int",
    "search.generations": "int",
    "search.max_bits": "int",
    "search.seed": "int",
}
"""Every key of a config with the kind of its value."""

_MINIMA = {
    "data.max_shift": 0,
    "data.calibration_batches": 1,
    "training.batch_size": 1,
    "training.steps_per_epoch": 1,
    "training.warmup_steps": 0,
    "search.population": 2,
    "search.generations": 1,
}


def validate_config(config: ConfigDict) -> None:
    """Checks that a config has every key, no other one, and values of the right kind.

    Raises:
      ConfigError: Names the key, what it needs and what was received.
    """
    values = _flatten(config)
    missing = [key for key in _FIELDS if key not in values]
    unknown = [key for key in values if key not in _FIELDS]
    if missing or unknown:
        parts = [f"{verb} {keys}" for verb, keys in (("misses", missing), ("has", unknown)) if keys]
        known = ", which nothing reads" if unknown else ""
        raise ConfigError(
            f"The config {' and '.join(parts)}{known}. See configs/digits.py for a complete one."
        )
    for key, kind in _FIELDS.items():
        if not _is(kind, values[key]):
            raise ConfigError(f"config.{key} must be {_KINDS[kind]}. Received: {values[key]!r}.")
    for key, minimum in _MINIMA.items():
        if values[key] < minimum:
            raise ConfigError(
                f"config.{key} must be at least {minimum}. Received: {values[key]!r}."
            )
    _check_training(config)


def _check_training(config: ConfigDict) -> None:
    settings = config.training
    if not settings.stage_steps or len(settings.stage_steps) != len(settings.stage_bits):
        raise ConfigError(
            "config.training.stage_steps and stage_bits must have one entry for each stage. "
            f"Received: {settings.stage_steps} and {settings.stage_bits}."
        )
    if min(settings.stage_steps) < 1 or settings.warmup_steps >= total_steps(config):
        raise ConfigError(
            "Each of config.training.stage_steps must be at least 1, and warmup_steps below their "
            f"sum. Received: {settings.stage_steps} and {settings.warmup_steps}."
        )
    if settings.learning_rate <= 0 or settings.clip_norm <= 0 or not 0 <= settings.momentum < 1:
        raise ConfigError(
            "config.training needs learning_rate and clip_norm above 0 and momentum in [0, 1). "
            f"Received: {settings.learning_rate}, {settings.clip_norm} and {settings.momentum}."
        )


def total_steps(config: ConfigDict) -> int:
    """Number of training steps."""
    return sum(config.training.stage_steps)


def write_config(config: ConfigDict, path: str | os.PathLike) -> None:
    """Writes a config as JSON.

    Raises:
      FileWriteError: The file cannot be written.
    """
    content = {"schema_version": SCHEMA_VERSION, "config": _plain(config)}
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
    try:
        validate_config(config)
    except ConfigError as error:
        raise _damaged(path, error) from error
    return config


def differences(there: ConfigDict, here: ConfigDict) -> list[tuple[str, Any, Any]]:
    """(key, value there, value here) of every key in which two valid configs differ, in order."""
    values, others = _flatten(_plain(there)), _flatten(_plain(here))
    return [(key, values[key], others[key]) for key in _FIELDS if values[key] != others[key]]


def _plain(config: ConfigDict) -> dict:
    """The config in the types that JSON knows, tuples as lists."""
    return json.loads(json.dumps(config.to_dict()))


def _flatten(config: Mapping | ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Maps dotted keys to values; `space` may be a mapping and stays whole."""
    values = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping | ConfigDict) and name != "space":
            values |= _flatten(value, f"{name}.")
        else:
            values[name] = value
    return values


def _is(kind: str, value: Any) -> bool:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if kind == "space":
        return isinstance(value, str | Mapping | ConfigDict)
    if kind == "int":
        return is_int
    if kind == "number":
        return is_int or isinstance(value, float)
    if kind == "string":
        return isinstance(value, str)
    items = {"ints": "int", "strings": "string", "tuples of ints": "ints"}[kind]
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
    return is_sequence and all(_is(items, item) for item in value)


def _damaged(path: pathlib.Path, reason: object) -> ConfigError:
    return ConfigError(
        f"{path} is damaged: {reason} It was left as it is; restore it from a copy, or choose "
        "another --workdir."
    )
