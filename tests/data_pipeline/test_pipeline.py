"""Splits are disjoint and balanced; batches depend on (seed, step) alone."""

import numpy as np
import pytest

from qfa_tf.data import Augmentation, Split, batches, load, training_batches
from qfa_tf.data.splitting import stratified_indices


def as_set(split):
    return {image.tobytes() for image in split.images}


def test_digit_splits(small_digits):
    train, validation, test = (
        as_set(split)
        for split in (small_digits.train, small_digits.search_validation, small_digits.test)
    )
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert as_set(small_digits.calibration) <= train
    sizes = (len(small_digits.train), len(small_digits.search_validation), len(small_digits.test))
    assert sizes == (1097, 300, 400)
    for split in (small_digits.search_validation, small_digits.test):
        share = np.bincount(split.labels, minlength=10) / len(split)
        assert share.min() > 0.08
    assert small_digits.train.images.min() >= 0
    assert small_digits.train.images.max() <= 1


def test_loading_is_deterministic(small_digits):
    again = load("digits", 16)
    np.testing.assert_array_equal(again.test.images, small_digits.test.images)


def test_unknown_data_set():
    with pytest.raises(ValueError, match=r"data sets are \['digits'\].*'mnist'"):
        load("mnist", 28)


def test_stratified_indices_errors_and_sizes():
    labels = np.repeat(np.arange(4), 25)
    parts = stratified_indices(labels, (20, 30), np.random.default_rng(0))
    assert [len(part) for part in parts] == [20, 30, 50]
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert np.ptp(np.bincount(labels[parts[0]])) <= 1
    with pytest.raises(ValueError, match="only 100"):
        stratified_indices(labels, (60, 41), np.random.default_rng(0))


@pytest.mark.parametrize("first_step", [1, 17, 40])
def test_resumed_batches_continue(small_digits, first_step):
    whole = training_batches(
        small_digits.train, 64, seed=3, augmentation=Augmentation(max_shift=2)
    ).take(first_step + 2)
    resumed = training_batches(
        small_digits.train,
        64,
        seed=3,
        first_step=first_step,
        augmentation=Augmentation(max_shift=2),
    ).take(2)
    expected = list(whole.as_numpy_iterator())[first_step:]
    for (images, labels), (other_images, other_labels) in zip(
        expected, resumed.as_numpy_iterator(), strict=True
    ):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_an_epoch_has_no_repetition(small_digits):
    steps = len(small_digits.train) // 64
    seen = [
        image.tobytes()
        for images, _ in training_batches(small_digits.train, 64, seed=0)
        .take(steps)
        .as_numpy_iterator()
        for image in images
    ]
    assert len(seen) == steps * 64
    assert len(set(seen)) == len(seen)


def test_shift_moves_whole_images():
    image = np.zeros((1, 9, 9, 1), np.float32)
    image[0, 4, 4, 0] = 1.0
    split = Split.from_arrays(np.repeat(image, 64, 0), np.zeros(64, np.int32))
    images, _ = next(
        iter(
            training_batches(
                split, 64, seed=1, augmentation=Augmentation(max_shift=2)
            ).as_numpy_iterator()
        )
    )
    places = {tuple(np.argwhere(single[..., 0])[0]) for single in images}
    assert all(single.sum() == 1 for single in images)
    assert places <= {(row, column) for row in range(2, 7) for column in range(2, 7)}
    assert len(places) > 15


def test_batches_are_in_order(small_digits):
    labels = np.concatenate([labels for _, labels in batches(small_digits.test, 128)])
    np.testing.assert_array_equal(labels, small_digits.test.labels)


def test_batch_size_error(small_digits):
    with pytest.raises(ValueError, match="between 1 and the 1097"):
        training_batches(small_digits.train, 2000, seed=0)
    with pytest.raises(ValueError, match="labels"):
        Split.from_arrays(np.zeros((3, 2, 2, 1), np.float32), np.zeros(2, np.int32))
