"""What a config must contain, and its file."""

import pytest

from qfa_tf.runs import ConfigError, read_config, validate_config, write_config
from qfa_tf.runs.building import build_space
from qfa_tf.runs.config import differences


def test_round_trip_keeps_every_value(config, tiny_space, tmp_path):
    write_config(config, tmp_path / "config.json")
    again = read_config(tmp_path / "config.json")
    assert differences(again, config) == []
    assert build_space(again) == tiny_space


def test_recipes_are_valid():
    namespace = {}
    with open("configs/digits.py", encoding="utf-8") as file:
        exec(file.read(), namespace)
    config = namespace["get_config"]()
    validate_config(config)
    assert build_space(config).name == "digits_tiny"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.batch_size", "64", "config.training.batch_size must be an int"),
        ("training.batch_size", 0, "config.training.batch_size must be at least 1"),
        ("training.stage_steps", (10,), "one entry for each stage"),
        ("training.stage_bits", (2, 4, 8), "a tuple of tuples of ints"),
        ("training.warmup_steps", 8, "warmup_steps below their sum"),
        ("training.momentum", 1.0, r"momentum in \[0, 1\)"),
        ("search.constraints", "mflops_8bit<=1", "a tuple of strings"),
        ("search.population", 1, "config.search.population must be at least 2"),
        ("space", 3, "the name of a preset"),
    ],
)
def test_wrong_values_are_named(config, key, value, message):
    section, _, name = key.rpartition(".")
    part = config[section] if section else config
    with part.ignore_type():
        part[name] = value
    with pytest.raises(ConfigError, match=message):
        validate_config(config)


def test_missing_and_unknown_keys_are_named(config):
    del config.training.seed
    config.training.sede = 1
    with pytest.raises(
        ConfigError, match=r"misses \['training.seed'\] and has \['training.sede'\]"
    ):
        validate_config(config)


def test_unknown_preset(config):
    with config.ignore_type():
        config.space = "huge"
    with pytest.raises(ConfigError, match=r"presets are \[.*Received: 'huge'"):
        build_space(config)
