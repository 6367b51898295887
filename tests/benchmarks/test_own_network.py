"""The experiment with a ResNet-20, for a few steps on images of stripes."""

import csv

import numpy as np
import own_network
import pytest
import results_file

pytestmark = pytest.mark.slow


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.arange(400) % own_network.CLASSES
    images = rng.integers(0, 80, (400, own_network.SIZE, own_network.SIZE, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 2] += 120
    path = tmp_path / "stripes.npz"
    np.savez(path, images=images, labels=labels)
    few = {
        "DATA": f"npz:{path}",
        "SPLITS": {"search_validation": 40, "calibration": 64, "test": 40},
        "FLOAT_STEPS": 4,
        "STEPS": 4,
        "WARMUP": 1,
        "SAVE_EVERY": 2,
        "SEARCH": {"population": 2, "generations": 1},
    }
    for name, value in few.items():
        monkeypatch.setattr(own_network, name, value)
    monkeypatch.setattr(results_file, "RESULTS", tmp_path)
    folder = tmp_path / "workdir"
    folder.mkdir()
    return own_network.Experiment(folder)


def test_the_parts_follow_each_other_and_go_on(experiment, tmp_path, monkeypatch):
    parts = experiment.parts
    monkeypatch.setattr(own_network, "FLOAT_STEPS", 2)
    parts["float"]()
    weights = experiment.model().get_weights()
    experiment.model_file.unlink()
    monkeypatch.setattr(own_network, "FLOAT_STEPS", 4)
    parts["float"]()  # from the checkpoint of step 2
    assert any(map(np.any, map(np.not_equal, weights, experiment.model().get_weights())))
    parts["compressed"]()
    parts["uniform_2"]()
    parts["mobilenet_v3"]()
    with open(tmp_path / "own_network.csv", newline="", encoding="utf-8") as file:
        rows = {row["network"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["float", "tflite_8", "compressed", "uniform_2", "mobilenet_v3"]
    allowed = int(rows["tflite_8"]["file_bytes"]) / own_network.SHARE
    assert int(rows["compressed"]["file_bytes"]) <= allowed
    assert int(rows["mobilenet_v3"]["file_bytes"]) <= 1.02 * int(rows["compressed"]["file_bytes"])
    exact = [rows[name]["mismatches"] for name in ("compressed", "uniform_2", "mobilenet_v3")]
    assert exact == ["0", "0", "0"]
