"""Saving and loading quantized models."""

import json
import shutil

import numpy as np
import pytest
import small_nets

from quantize_configs import BitPolicy, calibrate, load_model, quantize, save_model
from quantize_configs.files import FileWriteError
from quantize_configs.keras_backend import keras
from quantize_configs.saving import named_weights

IMAGES, _ = small_nets.task(16)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = quantize(small_nets.sequential(), BitPolicy((3, 4)))
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + generator.normal(0, 0.02, weight.shape))
    calibrate(model, [IMAGES])
    return model


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "new" / "model"
    save_model(model, folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def test_round_trip_is_exact(model, saved):
    loaded = load_model(saved)
    weights, expected = named_weights(loaded), named_weights(model)
    assert set(weights) == set(expected)
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight, expected[name], err_msg=name)
    for training in (False, True):
        expected = model(IMAGES, training=training)
        np.testing.assert_array_equal(loaded(IMAGES, training=training), expected)
    assert sorted(path.name for path in saved.parent.iterdir()) == [saved.name]


def test_existing_folder_is_refused(model, saved):
    content = (saved / "model.json").read_bytes()
    with pytest.raises(FileExistsError, match="exists already"):
        save_model(model, saved)
    assert (saved / "model.json").read_bytes() == content


def test_failed_save_leaves_nothing(model, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(FileWriteError, match="No space left on device"):
        save_model(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no quantized model: model.json"):
        load_model(tmp_path / "nothing")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_version(path):
    content = json.loads(path.read_text())
    content["schema_version"] = 99
    path.write_text(json.dumps(content))


def other_class(path):
    path.write_text(path.read_text().replace('"LSQQuantizer"', '"SomeQuantizer"'))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("model.json", cut, "model.json is damaged"),
        ("model.json", lambda path: path.write_bytes(b"\xff\xfe"), "model.json is damaged"),
        ("model.json", lambda path: path.write_text("[]"), "schema version None"),
        ("model.json", lambda path: path.write_text('{"schema_version": 1}'), "is damaged"),
        ("model.json", other_version, "schema version 99; this release reads version 1"),
        ("model.json", other_class, "model.json is damaged.*SomeQuantizer"),
        ("weights.npz", cut, "weights.npz is damaged"),
        ("weights.npz", lambda path: path.write_bytes(b""), "weights.npz is damaged"),
        ("weights.npz", flip_byte, "weights.npz is damaged"),
        ("weights.npz", lambda path: path.unlink(), "weights.npz is damaged"),
    ],
)
def test_damaged_files_are_refused(copied, name, damage, message):
    damage(copied / name)
    with pytest.raises(ValueError, match=message):
        load_model(copied)


def test_weights_of_another_model_are_refused(copied, tmp_path):
    keras.utils.set_random_seed(0)
    other = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(4, 3, name="conv")])
    save_model(quantize(other, BitPolicy()), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "weights.npz", copied / "weights.npz")
    with pytest.raises(ValueError, match="belongs to another model"):
        load_model(copied)
