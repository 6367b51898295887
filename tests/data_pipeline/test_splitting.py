"""Splits are disjoint, complete, balanced and of the sizes that were asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfa_tf.data import DataError
from qfa_tf.data.splitting import SplitSizes, random_indices, stratified_indices


@given(
    labels=st.lists(st.integers(0, 4), min_size=5, max_size=120).map(np.array),
    shares=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_stratified_parts_are_complete_and_balanced(labels, shares, seed):
    sizes = tuple(int(share * len(labels)) for share in shares)
    parts = stratified_indices(labels, sizes, np.random.default_rng(seed))
    assert [len(part) for part in parts[:-1]] == list(sizes)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    totals = np.bincount(labels, minlength=5)
    for part in parts:
        expected = totals * len(part) / len(labels)
        # Each class is spread evenly over the order, so a part misses its share by few.
        assert np.abs(np.bincount(labels[part], minlength=5) - expected).max() <= 5


def test_equal_classes_get_equal_numbers():
    labels = np.repeat(np.arange(4), 25)
    parts = stratified_indices(labels, (20, 30), np.random.default_rng(0))
    assert [len(part) for part in parts] == [20, 30, 50]
    assert np.ptp(np.bincount(labels[parts[0]])) <= 1
    with pytest.raises(ValueError, match=r"only 100"):
        stratified_indices(labels, (60, 41), np.random.default_rng(0))


def test_unlabelled_parts_are_complete():
    parts = random_indices(50, (20, 5), np.random.default_rng(0))
    assert [len(part) for part in parts] == [20, 5, 25]
    assert sorted(np.concatenate(parts)) == list(range(50))


@pytest.mark.parametrize(
    ("examples", "with_test", "expected"),
    [
        (1_281_167, False, (10_000,)),
        (60_000, False, (6_000,)),
        (1_000, True, (100, 200)),
        (5, True, (1, 1)),
    ],
)
def test_default_sizes(examples, with_test, expected):
    assert SplitSizes().held_out(examples, with_test=with_test) == expected


def test_default_calibration_size():
    assert SplitSizes().calibrating(54_000) == 2_048
    assert SplitSizes().calibrating(300) == 300


def test_sizes_that_are_refused():
    with pytest.raises(DataError, match=r"search_validation must be .* Received: 0"):
        SplitSizes(search_validation=0)
    with pytest.raises(DataError, match=r"only 100 training images, and 60 . 40"):
        SplitSizes(60, 40).held_out(100, with_test=True)
    with pytest.raises(DataError, match=r"calibration is to have 50 images, but only 40"):
        SplitSizes(calibration=50).calibrating(40)
