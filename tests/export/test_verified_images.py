"""Exporting a run verifies on as many test images as a limit of bytes allows."""

import numpy as np
import pytest

from qfa_tf.data import Split
from qfa_tf.runs.exporting import promises


def split(count, size=8):
    images = np.zeros((count, size, size, 1), np.uint8)
    return Split.from_arrays(images, np.arange(count))


def test_all_images_where_they_fit():
    whole = split(50)
    assert promises.verified_sample(whole, 8) is whole


@pytest.mark.parametrize(("resolution", "expected"), [(8, 20), (4, 20), (16, 5)])
def test_evenly_spaced_ones_otherwise(monkeypatch, resolution, expected):
    """The larger of the two sizes counts: that in the data and that of the subnet."""
    monkeypatch.setattr(promises, "VERIFIED_BYTES", 20 * 8 * 8 * 4)
    sample = promises.verified_sample(split(1000), resolution)
    assert len(sample) == expected
    assert sample.read_images().nbytes <= promises.VERIFIED_BYTES
    steps = np.diff(sample.labels)
    assert sample.labels[0] == 0
    assert sample.labels[-1] == 999
    assert steps.max() - steps.min() <= 1


def test_at_least_one(monkeypatch):
    monkeypatch.setattr(promises, "VERIFIED_BYTES", 1)
    assert len(promises.verified_sample(split(3), 8)) == 1
