"""The programs as functions, with paths and names."""

import pytest

import qfa_tf
from qfa_tf.runs import ConfigError, RunError, Workdir
from qfa_tf.runs.functions import with_overrides
from qfa_tf.runs.recipes import load_recipe, recipe_argument, recipe_names

pytestmark = pytest.mark.xdist_group("runs")


def test_from_a_config_to_a_latency(restored_once, config, finished_run, run_copy, console):
    path = str(run_copy.path)
    qfa_tf.train(path, config, console=console)
    assert "is finished: 8 steps" in console.file.getvalue()
    result = qfa_tf.search_subnets(path, constraints=(), seed=4, workers=0, sensitivity=False)
    assert (result.seed, result.constraints) == (4, ())
    record = qfa_tf.export(path, index=0, input_type="float32")
    assert record.conversion["input_type"] == "float32"
    (measured,) = qfa_tf.benchmark(path, num_threads=2, num_runs=3, min_seconds=0.0, rounds=1)
    assert measured.benchmarks["host-2"]["median_ms"] > 0


def test_overrides_name_keys_by_their_last_part(config):
    changed = with_overrides(config, {"learning_rate": 0.5, "training__seed": 7, "space": "x"})
    assert (changed.training.learning_rate, changed.training.seed) == (0.5, 7)
    assert (changed.space, config.training.learning_rate) == ("x", 0.05)
    assert with_overrides(config, {"checkpoint_minutes": 2.0}).training.checkpoint_minutes == 2.0
    with pytest.raises(ConfigError, match=r"training\.seed and search\.seed are each a key 'seed'"):
        with_overrides(config, {"seed": 7})
    with pytest.raises(ConfigError, match="There is no key 'lr' of a config"):
        with_overrides(config, {"lr": 7})


def test_recipes(tmp_path):
    assert {"digits", "fashion_mnist", "imagenet_qfa"} <= set(recipe_names())
    assert load_recipe("digits") == load_recipe(recipe_argument("digits"))
    assert load_recipe("digits").space == "digits_tiny"
    path = tmp_path / "own.py"
    assert recipe_argument(path) == str(path)
    with pytest.raises(ConfigError, match=r"There is no recipe .*own\.py"):
        load_recipe(path)
    path.write_text("def get_config():\n    return 1 / 0\n")
    with pytest.raises(ConfigError, match=r"own\.py cannot be run: ZeroDivisionError"):
        load_recipe(path)
    path.write_text("def get_config():\n    return {}\n")
    with pytest.raises(ConfigError, match="must return a ConfigDict"):
        load_recipe(path)
    with pytest.raises(ConfigError, match=r"There is no recipe 'digitz'\. Those that come along"):
        load_recipe("digitz")


def test_every_recipe_can_be_read(tmp_path):
    from qfa_tf.runs.config import validate_config

    for label in ("a", "b"):
        (tmp_path / label).mkdir()
    arguments = {"fashion_mnist_oqa": ":w4", "imagenet_oqa": ":w4", "image_folder": f":{tmp_path}"}
    for name in recipe_names():
        argument = arguments.get(name, "")
        if name != "fashion_mnist_study":
            validate_config(load_recipe(name + argument))


def test_mistakes_are_sentences(tmp_path):
    with pytest.raises(RunError, match="Train first"):
        qfa_tf.search_subnets(tmp_path / "none")
    with pytest.raises(RunError, match="Train first"):
        qfa_tf.export(str(tmp_path / "none"))
    with pytest.raises(RunError, match="Train first"):
        qfa_tf.benchmark(str(tmp_path / "none"))
    assert not Workdir(tmp_path / "none").path.exists()
