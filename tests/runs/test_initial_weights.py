"""Starting from another run, and learning from another network."""

import json

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from qfa_tf.runs import ConfigError, Workdir, WorkdirError, restore
from qfa_tf.runs.building import build_data, build_net, build_space
from qfa_tf.runs.config import complete_config
from qfa_tf.runs.training.initial_weights import load_initial_weights
from qfa_tf.runs.training.teacher import build_teacher
from qfa_tf.space import Head
from quantize_configs.keras_backend import keras

pytestmark = pytest.mark.xdist_group("runs")


def with_space(config, space):
    with config.ignore_type():
        config.space = ConfigDict(json.loads(space.to_json()))
    return complete_config(config)


def test_other_bits(finished_run, config, tiny_space):
    """Bits that were trained keep what was learned, new ones start from the weights."""
    space = tiny_space.replace(
        name="other", resolutions=(8, 12), weight_bits=(2, 4), activation_bits=(2, 4)
    )
    config.training.initial_checkpoint = str(finished_run)
    config = with_space(config, space)
    net = build_net(config)
    source, key = restore(Workdir(finished_run))
    assert load_initial_weights(net, config) == key
    for site in space.sites:
        for there, here in zip(
            source.site_layer(site.name).weights, net.site_layer(site.name).weights, strict=True
        ):
            np.testing.assert_array_equal(there, here)
    site = "s0.b0.project"
    assert net.precision.weight_step(site, 4) == source.precision.weight_step(site, 4)
    assert net.precision.activation_parameters(site, 4) == (
        source.precision.activation_parameters(site, 4)
    )
    first = build_net(config).precision.activation_parameters(site, 2)
    assert net.precision.activation_parameters(site, 2) == first
    fresh, _ = net.site_layer(site).initial_steps()  # of 2 and 4 bits
    assert net.precision.weight_step(site, 2) == pytest.approx(fresh)
    assert net.precision.weight_step("stem", 8) == source.precision.weight_step("stem", 8)


def test_untrained_bits_start_from_the_weights(run_copy, config):
    """A float run has steps too, but they were never trained."""
    text = run_copy.config_file.read_text()
    content = json.loads(text)
    content["config"]["training"]["stage_bits"] = [[32], [32], [32]]
    run_copy.config_file.write_text(json.dumps(content))
    config.training.initial_checkpoint = str(run_copy)
    net = build_net(complete_config(config))
    load_initial_weights(net, complete_config(config))
    source, _ = restore(run_copy)
    layer = net.site_layer("s0.b0.expand")
    fresh = layer.initial_steps()[layer.weight_quantizer.bit_widths.choices.index(4)]
    assert net.precision.weight_step("s0.b0.expand", 4) == pytest.approx(fresh)
    assert net.precision.weight_step("s0.b0.expand", 4) != source.precision.weight_step(
        "s0.b0.expand", 4
    )
    assert net.precision.weight_step("stem", 8) == source.precision.weight_step("stem", 8)


def test_other_structure_is_refused(finished_run, config, tiny_space, tmp_path):
    config.training.initial_checkpoint = str(finished_run)
    config = with_space(config, tiny_space.replace(name="other", head=Head(24, None, "relu")))
    net = build_net(config)
    with pytest.raises(ConfigError, match=r"another structure: head is .*16.* there, .*24.* here"):
        load_initial_weights(net, config)
    config.training.initial_checkpoint = str(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"config\.training\.initial_checkpoint: .*is no workdir"):
        load_initial_weights(net, config)


@pytest.fixture
def external(config):
    config.training.distillation = "external"
    config.training.teacher = "to be set"
    return complete_config(config)


def test_supernet_as_teacher(external, finished_run, tmp_path, monkeypatch):
    """The frozen float largest subnet, calibrated, on any images."""
    external.training.teacher = str(finished_run)
    data = build_data(external)
    net, key = restore(Workdir(finished_run))
    monkeypatch.setattr(
        "qfa_tf.runs.training.teacher.restore", lambda workdir: (net, key)
    )  # traced once
    workdir = Workdir(tmp_path / "run")
    teacher = build_teacher(external, workdir, data)
    images = tf.constant(data.test.read_images()[:5])
    space = build_space(external)
    architecture = space.largest(bits=32)
    calibration = net.calibrate(
        [data.calibration.read_images()[:48][i : i + 16] for i in (0, 16, 32)], architecture
    )
    expected = net(images, genome=architecture, calibration=calibration)
    np.testing.assert_allclose(teacher(images), expected, rtol=1e-5, atol=1e-5)
    assert json.loads(workdir.teacher_file.read_text())["key"] == key

    # It must stay the same through the whole run.
    build_teacher(external, workdir, data)
    workdir.teacher_file.write_text('{"schema_version": 1, "key": "step-3-0123"}')
    with pytest.raises(WorkdirError, match=r"other weights .*step-3-0123.*remove .*teacher\.json"):
        build_teacher(external, workdir, data)
    workdir.teacher_file.write_text("{")
    with pytest.raises(WorkdirError, match=r"teacher\.json is damaged"):
        build_teacher(external, workdir, data)


@pytest.mark.parametrize("softmax", [False, True])
def test_keras_file_as_teacher(external, tmp_path, softmax):
    data = build_data(external)
    inputs = keras.Input((6, 6, 1))
    logits = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
    outputs = keras.layers.Softmax()(logits) if softmax else logits
    keras.Model(inputs, outputs).save(tmp_path / "teacher.keras")
    external.training.teacher = str(tmp_path / "teacher.keras")
    teacher = build_teacher(external, Workdir(tmp_path / "run"), data)
    images = tf.constant(data.test.read_images()[:5])
    expected = tf.nn.softmax(keras.Model(inputs, logits)(tf.image.resize(images, (6, 6))))
    np.testing.assert_allclose(tf.nn.softmax(teacher(images)), expected, atol=1e-6)


def test_wrong_teachers(external, tmp_path):
    data = build_data(external)
    workdir = Workdir(tmp_path / "run")
    external.training.teacher = str(tmp_path / "none.keras")
    with pytest.raises(ConfigError, match=r"There is no .*none\.keras"):
        build_teacher(external, workdir, data)
    (tmp_path / "none.keras").write_text("nothing")
    with pytest.raises(ConfigError, match="no model that tf_keras can load"):
        build_teacher(external, workdir, data)
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.Dense(7)(keras.layers.Flatten()(inputs))).save(
        tmp_path / "seven.keras"
    )
    external.training.teacher = str(tmp_path / "seven.keras")
    with pytest.raises(ConfigError, match=r"each of the 4 classes.*\(2, 7\)"):
        build_teacher(external, workdir, data)
    assert not workdir.teacher_file.exists()
    external.training.distillation = "none"
    assert build_teacher(external, workdir, data) is None
