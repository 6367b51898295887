"""A workdir belongs to one config."""

import json

import pytest

from qfa_tf.runs import ConfigError, Workdir, WorkdirError


@pytest.fixture
def workdir(tmp_path, config):
    made = Workdir(tmp_path / "run")
    made.claim(config)
    return made


def test_same_config_reopens(workdir, config):
    before = workdir.config_file.read_bytes()
    workdir.claim(config)
    assert workdir.config_file.read_bytes() == before


def test_other_config_is_refused_with_the_keys(workdir, config):
    config.training.learning_rate = 0.5
    before = workdir.config_file.read_bytes()
    with pytest.raises(WorkdirError, match="choose another --workdir") as caught:
        workdir.claim(config)
    assert "training.learning_rate is 0.05 there and 0.5 here" in str(caught.value)
    assert "search." not in str(caught.value)
    assert workdir.config_file.read_bytes() == before


def test_settings_of_a_search_are_no_part_of_a_training(workdir, config):
    config.search.seed = 9
    workdir.claim(config)
    assert workdir.config().search.seed == 9
    config.training.seed = 9
    config.search.seed = 10
    with pytest.raises(WorkdirError, match=r"config: training\.seed is 3 there and 9 here\."):
        workdir.claim(config)
    assert workdir.config().search.seed == 9


@pytest.mark.parametrize(
    "content", [b"", b'{"schema_version": 1, "config": {', b"[1]", b"\xff\xfe"]
)
def test_damaged_config_is_refused_and_kept(workdir, config, content):
    workdir.config_file.write_bytes(content)
    for use in (workdir.config, lambda: workdir.claim(config)):
        with pytest.raises(ConfigError, match=r"config\.json is damaged.*left as it is"):
            use()
    assert workdir.config_file.read_bytes() == content


def test_other_schema_version_is_refused(workdir):
    text = workdir.config_file.read_text().replace('"schema_version": 2\n', '"schema_version": 7\n')
    workdir.config_file.write_text(text)
    with pytest.raises(ConfigError, match="schema version 7"):
        workdir.config()


def test_folder_of_something_else_is_refused(tmp_path, config):
    (tmp_path / "thesis.tex").write_text("hello")
    with pytest.raises(WorkdirError, match=r"holds thesis\.tex.*choose another"):
        Workdir(tmp_path).claim(config)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_missing_run_names_the_training_command(tmp_path):
    with pytest.raises(WorkdirError, match=r"Train first: python apps/train\.py"):
        Workdir(tmp_path).config()


def test_workdirs_of_earlier_versions_keep_their_normalization(config, tmp_path):
    """Their config lacks the keys; the same recipe goes on with what they had."""
    workdir = Workdir(tmp_path / "run")
    completed = workdir.claim(config)
    assert completed.supernet.norm_epsilon == 1e-2
    content = json.loads(workdir.config_file.read_text())
    for name in ("norm_epsilon", "constant_channels", "classifier_start"):
        del content["config"]["supernet"][name]
    workdir.config_file.write_text(json.dumps(content))
    for found in (workdir.config(), workdir.claim(config), workdir.claim(workdir.claim(config))):
        assert found.supernet.norm_epsilon == 1e-5
        assert found.supernet.constant_channels == "passed"
        assert found.supernet.classifier_start == "fan_out"
    config.search.seed = 7  # what may change is written, and nothing else changes with it
    workdir.claim(config)
    assert workdir.config().supernet.norm_epsilon == 1e-5
    with config.ignore_type():
        config.supernet = {"norm_epsilon": 1e-3}
    with pytest.raises(WorkdirError, match=r"norm_epsilon is 1e-05 there and 0\.001 here"):
        workdir.claim(config)
