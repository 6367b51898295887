"""What a config must contain, and its file."""

import pathlib

import pytest

from qfa_tf.runs import ConfigError, Workdir, read_config, train, validate_config, write_config
from qfa_tf.runs.building import build_augmentation, build_schedule, build_space, build_training
from qfa_tf.runs.config import complete_config, differences, total_steps
from qfa_tf.runs.config_fields import FIELDS, option_lines, option_rows
from qfa_tf.runs.recipes import load_recipe
from qfa_tf.runs.searching.settings import SearchSettings
from qfa_tf.space import SearchSpace
from quantize_configs.options import options_of

ROOT = pathlib.Path(__file__).parents[2]


def test_round_trip_keeps_every_value(config, tiny_space, tmp_path):
    write_config(config, tmp_path / "config.json")
    again = read_config(tmp_path / "config.json")
    assert differences(again, config) == []
    assert build_space(again) == tiny_space


def recipe(name, *arguments):
    namespace = {}
    exec((ROOT / "configs" / f"{name}.py").read_text(encoding="utf-8"), namespace)
    return namespace["get_config"](*arguments)


def recipes():
    """(name,) of every recipe, and (name, phase) of every phase of those that have some."""
    for path in sorted((ROOT / "configs").glob("*.py")):
        namespace = {}
        exec(path.read_text(encoding="utf-8"), namespace)
        yield from ((path.stem, phase) for phase in namespace.get("PHASES", ()))
        if "PHASES" not in namespace:
            yield (path.stem,)


@pytest.mark.parametrize("arguments", [*recipes()], ids=":".join)
def test_recipes_are_valid(arguments, tmp_path, monkeypatch):
    for number in range(3):  # of the recipe for a folder of images, which counts its classes
        (tmp_path / "photos" / f"class_{number}").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config = complete_config(recipe(*arguments))
    space = build_space(config)
    assert space.size() > (10**20 if len(space.weight_bits) > 1 else 10**4)
    training = build_training(config, teacher=abs if config.training.teacher else None)
    rate = build_schedule(config)
    assert len(training.stages) == len(config.training.stage_steps)
    assert 0 <= float(rate(total_steps(config) - 1)) < 1e-3
    build_augmentation(config)


def test_the_recipe_of_a_folder_has_a_class_for_each_folder(tmp_path):
    with pytest.raises(ConfigError, match="photos needs a folder for each of two classes or more"):
        load_recipe(f"image_folder:{tmp_path}/photos")
    for part in ("train", "test"):
        for name in ("cat", "dog", "owl", ".hidden"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
    config = load_recipe(f"image_folder:{tmp_path}/photos")
    assert config.data.name == f"folder:{tmp_path}/photos"
    assert build_space(config).num_classes == 3


def test_imagenet_recipe_is_the_published_one():
    """The numbers of the release: epochs, learning rates and warm-ups of both stages."""
    config = complete_config(recipe("imagenet_qfa"))
    epoch = config.training.steps_per_epoch
    rate = build_schedule(config)
    for start in (0, 65 * epoch):
        assert float(rate(start)) == pytest.approx(2.5e-3)
        assert float(rate(start + 5 * epoch)) == pytest.approx(0.08)
    assert float(rate(65 * epoch - 1)) < 1e-6
    assert float(rate(5 * epoch + 30 * epoch)) == pytest.approx(0.04)  # half of the cosine
    assert total_steps(config) == 190 * epoch
    other = complete_config(recipe("imagenet_qfa", "float"))
    stages = build_training(other).stages
    assert [(stage.subnets, stage.is_float) for stage in stages] == [
        ("largest", True),
        ("all", True),
    ]


def test_defaults_are_filled_in(config, tmp_path):
    completed = complete_config(config)
    assert completed.training.checkpoint_minutes == 10.0
    assert completed.supernet.zero_point == "integer"
    assert "checkpoint_minutes" not in config.training  # the given one stays as it is
    assert differences(completed, config) == []
    write_config(config, tmp_path / "config.json")
    assert read_config(tmp_path / "config.json").supernet.narrow_bits == [8]


def test_space_of_ones_own(config, tmp_path):
    space = SearchSpace.mobilenet_v3(0.25, resolutions=(64,), num_classes=10)
    with config.ignore_type():
        config.space = space
    write_config(config, tmp_path / "config.json")
    again = read_config(tmp_path / "config.json")
    assert build_space(again) == space
    assert differences(again, config) == []
    again.space.stages[0]["width"] = 0
    with pytest.raises(ConfigError, match=r"config\.space: stage\.width must be an int >= 1"):
        build_space(again)
    again.space.stages[0]["width"] = 8
    del again.space["stem"]
    with pytest.raises(ConfigError, match=r"config\.space: .*Missing: \['stem'\]"):
        build_space(again)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.batch_size", "64", "config.training.batch_size must be an int"),
        ("training.batch_size", 0, "config.training.batch_size must be at least 1"),
        ("training.stage_steps", (10,), "one entry for each stage"),
        ("training.stage_bits", (2, 4, 8), "a tuple of tuples of ints"),
        ("training.warmup_steps", 8, "warmup_steps below their sum"),
        ("training.warmup_steps", (3, 0, 0), "warmup_steps below the steps of its stage"),
        ("training.learning_rate", (0.1, 0.2), "one for each of the 3 stages"),
        ("training.stage_subnets", ("all",), "one entry for each of the 3 stages"),
        ("training.stage_subnets", ("all", "all", "some"), r"one of \('all', 'largest'\)"),
        ("training.distillation", "external", "need each other"),
        ("training.teacher", "model.keras", "need each other"),
        ("training.distillation", 1.0, "config.training.distillation must be a string"),
        ("training.label_smoothing", 1.0, r"config.training.label_smoothing must be below 1"),
        ("training.label_smoothing", -0.1, r"config.training.label_smoothing must be at least 0"),
        ("training.dropout", 1.0, r"config.training.dropout must be below 1"),
        ("training.learning_rate", 0.0, r"config.training.learning_rate must be above 0"),
        ("training.learning_rate", (0.1, -0.1, 0.1), r"learning_rate must be above 0"),
        ("training.clip_norm", 0.0, r"config.training.clip_norm must be above 0"),
        ("training.checkpoint_minutes", -1, "at least 0"),
        ("training.compute_dtype", "float16", "one of"),
        ("data.flip", 1, "config.data.flip must be True or False"),
        ("data.brightness", 2, "config.data.brightness must be at most 1"),
        ("training.momentum", 1.0, r"config.training.momentum must be below 1"),
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


@pytest.mark.parametrize(
    ("crop", "message"),
    [((0.5,), "config.data: random_resized_crop"), ((0.9, 0.5), "config.data: random_resized")],
)
def test_wrong_augmentation(config, crop, message):
    config.data.random_resized_crop = crop
    with pytest.raises(ConfigError, match=message):
        build_augmentation(complete_config(config))


def test_a_fault_of_the_code_is_not_blamed_on_the_config(config, monkeypatch):
    import qfa_tf.data

    def broken(**options):
        raise ValueError("a fault")

    monkeypatch.setattr(qfa_tf.data, "Augmentation", broken)
    with pytest.raises(ValueError, match=r"^a fault$") as raised:
        build_augmentation(complete_config(config))
    assert type(raised.value) is ValueError


def test_only_float_stages_train_the_largest_subnet_alone(config):
    config.training.stage_subnets = ("all", "largest", "all")
    with pytest.raises(ConfigError, match="float warm-up and has bits"):
        build_training(complete_config(config))


def test_tables_of_the_documentation_are_those_of_the_code():
    """scripts/write_option_tables.py writes them."""
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for section in ("supernet", "data", "training"):
        for row in option_rows(section):
            assert row in text


def test_names_of_strategies():
    from qfa_tf.search import STRATEGIES, PredictedFront

    choices = FIELDS["search.strategy"].option.choices
    assert choices == (*STRATEGIES, PredictedFront.name)


def test_data_and_search_have_the_options_of_what_they_configure():
    from qfa_tf.data.augmentation import Augmentation
    from qfa_tf.data.options import LoadOptions

    for section, owner in (
        ("data", LoadOptions),
        ("data", Augmentation),
        ("search", SearchSettings),
    ):
        for name, declared in options_of(owner).items():
            key = FIELDS[f"{section}.{name}"].option
            assert key.default == (declared.default or key.default)
            assert key.help.startswith(declared.help)
            assert (key.minimum, key.choices) == (declared.minimum, declared.choices)
            assert key.default is not None


@pytest.mark.parametrize("bits", [((32,), (2, 5), (2, 4, 8)), ((32,), (), (2, 4, 8))])
def test_bits_that_the_space_does_not_offer(config, bits, tmp_path):
    config.training.stage_bits = bits
    with pytest.raises(ConfigError, match=r"stage_bits must list some of \[4, 8, 32\]"):
        train(config, Workdir(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_rates_that_are_not_finite(config, rate):
    config.training.learning_rate = rate
    with pytest.raises(ConfigError, match=r"config.training.learning_rate must be finite"):
        validate_config(config)


def test_help_shows_every_key():
    lines = list(option_lines())
    assert len(lines) == len(FIELDS)
    assert "  --config.training.distillation_weight: of the cross-entropy" in "\n".join(lines)


def test_documentation_has_every_key():
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for key in FIELDS:
        section, _, name = key.rpartition(".")
        if section != "search":
            assert f"`{key}`" in text or f"`.{name}`" in text, key
