"""Splits are disjoint and balanced; batches depend on (seed, step) alone."""

import subprocess
import sys

import numpy as np
import pytest

from qfa_tf.data import Augmentation, DataError, Split, batches, load, training_batches
from qfa_tf.data import split as split_module


def as_set(split):
    return {image.tobytes() for image in split.read_images()}


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
    assert small_digits.train.read_images().min() >= 0
    assert small_digits.train.read_images().max() <= 1


def test_digits_are_split_as_ever(small_digits):
    """The figures of the quickstart are about these images."""
    assert small_digits.test.indices[:6].tolist() == [372, 158, 565, 861, 412, 361]
    found = small_digits.search_validation.indices[:6].tolist()
    assert found == [1474, 1085, 714, 1274, 655, 404]


def test_loading_is_deterministic(small_digits):
    again = load("digits", 16)
    np.testing.assert_array_equal(again.test.read_images(), small_digits.test.read_images())


@pytest.mark.parametrize("name", ["mnist", "idx:", "jpeg:here", ""])
def test_unknown_data_set(name):
    with pytest.raises(DataError, match=rf"\['digits'\].*'tfds:NAME'.*Received: '{name}'"):
        load(name, 28)


def test_options_of_digits():
    data = load("digits", 8, search_validation=100, test=150, calibration=50)
    sizes = [len(getattr(data, name)) for name in ("search_validation", "test", "calibration")]
    assert (sizes, len(data.train)) == ([100, 150, 50], 1547)
    with pytest.raises(DataError, match=r"only 1797 training images, and 1700 . 400"):
        load("digits", 8, search_validation=1700)
    with pytest.raises(DataError, match=r"eval_crop must be None or .*Received: 2"):
        load("digits", 8, eval_crop=2)


def test_images_beyond_memory_are_refused(small_digits, monkeypatch):
    monkeypatch.setattr(split_module, "LARGEST_ARRAY", 100 * 16 * 16 * 4)
    assert small_digits.test.take(np.arange(100)).read_images().shape == (100, 16, 16, 1)
    with pytest.raises(ValueError, match=r"The 400 images would take .*take\(indices\)"):
        small_digits.test.read_images()


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


def test_shards_are_parts_of_the_whole_batch(small_digits):
    augmentation = Augmentation(
        random_resized_crop=(0.2, 1.0), flip=True, max_shift=2, brightness=0.3, contrast=0.3
    )
    options = {"seed": 3, "first_step": 60, "augmentation": augmentation}
    whole = training_batches(small_digits.train, 18, **options)
    shards = [
        training_batches(small_digits.train, 18, shard=(index, 2), **options) for index in range(2)
    ]
    assert shards[0].element_spec[0].shape == (9, 16, 16, 1)
    pairs = zip(*(part.take(3).as_numpy_iterator() for part in (whole, *shards)), strict=True)
    for (images, labels), *parts in pairs:
        np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), images)
        np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), labels)


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ((0, 3), r"multiple of the 3 shards. Received: 64"),
        ((2, 2), r"0 <= index < count.*\(2, 2\)"),
    ],
)
def test_shards_that_are_refused(small_digits, shard, message):
    with pytest.raises(ValueError, match=message):
        training_batches(small_digits.train, 64, seed=0, shard=shard)


@pytest.mark.slow
def test_programs_end_while_images_are_read(colour_folder):
    """Reading ahead must not keep a program alive, nor load TensorFlow Datasets."""
    program = f"""
import sys
from qfa_tf.data import Augmentation, load, training_batches
data = load("folder:{colour_folder}", 20, memory_limit=0)
augmentation = Augmentation(random_resized_crop=(0.1, 1.0))
kept = iter(training_batches(data.train, 2, seed=0, augmentation=augmentation))
print(next(kept)[0].shape, "tensorflow_datasets" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert result.stdout == "(2, 20, 20, 3) False\n"
