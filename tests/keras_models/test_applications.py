"""The contract of a family over networks of tf_keras.applications; minutes for each."""

import own_families
import pytest
import results_file

BLOCKS = {
    "MobileNetV2": 10,
    "ResNet50V2": 9,
    "DenseNet121": 0,
    "InceptionV3": 0,
    "EfficientNetB0": 9,
    "RegNetX002": 9,
    "RegNetY002": 9,
    "Xception": 8,
}
"""Residual branches with an identity as their shortcut."""
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", own_families.FAMILIES)
def test_networks_of_keras_fulfil_the_contract_of_a_family(name, tmp_path, monkeypatch):
    monkeypatch.setattr(results_file, "RESULTS", tmp_path)
    row = own_families.measured(name)
    assert row["blocks"] == BLOCKS[name]
    assert float(row["float_difference"]) < 1e-4
    assert row["loss_is_finite"]
    assert row["traces"] == 1
    assert (row["mismatches"], row["wrong_costs"], row["json_differences"]) == (0, 0, 0)
    assert row["values"] > 0
    assert row["found_within_budget"] > 0
