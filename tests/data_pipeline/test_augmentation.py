"""Every change of the training images does what it says, and nothing else."""

import numpy as np
import pytest

from qfa_tf.data import Augmentation, Split, training_batches


def one_batch(images, augmentation, seed=0):
    split = Split.from_arrays(images, np.arange(len(images)))
    batch = training_batches(split, len(images), seed=seed, augmentation=augmentation)
    changed, places = next(batch.as_numpy_iterator())
    return changed, images[places]


def random_images(count=64, channels=3, low=0.0, high=1.0):
    rng = np.random.default_rng(0)
    return rng.uniform(low, high, (count, 8, 8, channels)).astype(np.float32)


def test_no_augmentation_changes_nothing():
    changed, original = one_batch(random_images(), Augmentation())
    np.testing.assert_array_equal(changed, original)


def test_flip_mirrors_about_half_of_the_images():
    changed, original = one_batch(random_images(), Augmentation(flip=True))
    mirrored = (changed == original[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (changed == original).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 16 < mirrored.sum() < 48


def test_brightness_multiplies_whole_images():
    changed, original = one_batch(random_images(high=0.6, low=0.1), Augmentation(brightness=0.5))
    factors = changed / original
    per_image = factors[:, 0, 0, 0]
    np.testing.assert_allclose(factors / per_image[:, None, None, None], 1, rtol=1e-5)
    assert 0.5 <= per_image.min() < 0.65
    assert 1.35 < per_image.max() <= 1.5


def test_contrast_keeps_the_mean_and_scales_the_rest():
    images = random_images(channels=1, low=0.4, high=0.6)
    changed, original = one_batch(images, Augmentation(contrast=0.5))
    axes = (1, 2, 3)
    np.testing.assert_allclose(changed.mean(axes), original.mean(axes), atol=1e-5)
    factors = changed.std(axes) / original.std(axes)
    assert 0.5 <= factors.min() < 0.65
    assert 1.35 < factors.max() <= 1.5


def test_saturation_keeps_the_grey_image():
    images = random_images(low=0.4, high=0.6)
    changed, original = one_batch(images, Augmentation(saturation=0.5))
    grey = np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(changed @ grey, original @ grey, atol=1e-5)
    spread = np.ptp(changed, axis=-1).mean((1, 2)) / np.ptp(original, axis=-1).mean((1, 2))
    assert 0.5 <= spread.min() < 0.65
    assert 1.35 < spread.max() <= 1.501


def test_colours_stay_in_range_and_are_drawn_apart():
    augmentation = Augmentation(brightness=1.0, contrast=1.0, saturation=1.0)
    changed, _ = one_batch(random_images(), augmentation)
    assert changed.min() >= 0
    assert changed.max() <= 1
    brightness = one_batch(random_images(high=0.4, low=0.1), Augmentation(brightness=0.5))
    contrast = one_batch(random_images(low=0.4, high=0.6), Augmentation(contrast=0.5))
    first = (brightness[0] / brightness[1])[:, 0, 0, 0]
    axes = (1, 2, 3)
    second = contrast[0].std(axes) / contrast[1].std(axes)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.5


def test_random_crops_show_parts_of_the_image():
    rows = np.broadcast_to(np.linspace(0, 1, 32)[:, None, None], (32, 32, 1))
    images = np.repeat(rows[None].astype(np.float32), 64, axis=0)
    changed, _ = one_batch(images, Augmentation(random_resized_crop=(0.2, 0.5)))
    first, last = changed[:, 0].mean((1, 2)), changed[:, -1].mean((1, 2))
    assert (np.diff(changed[..., 0], axis=1) > 0).all()  # never upside down
    assert np.ptp(changed, axis=2).max() < 1e-5  # never turned
    heights = last - first
    assert heights.min() > 0.3
    assert heights.max() < 0.85
    assert len(np.unique(first.round(3))) > 8


def test_each_step_and_seed_draws_anew():
    images = np.repeat(random_images(1), 64, axis=0)
    split = Split.from_arrays(images, np.zeros(64, int))
    augmentation = Augmentation(random_resized_crop=(0.08, 1.0), flip=True, brightness=0.2)
    batches = training_batches(split, 64, seed=1, augmentation=augmentation).take(3)
    seen = [batch for batch, _ in batches.as_numpy_iterator()]
    seen.append(one_batch(images, augmentation, seed=2)[0])
    distinct = {image.tobytes() for batch in seen for image in batch}
    assert len(distinct) == 4 * 64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"random_resized_crop": 0.08}, r"\(smallest, largest\).*Received: 0.08"),
        ({"random_resized_crop": (0.0, 1.0)}, r"0 < smallest <= largest <= 1.*\(0.0, 1.0\)"),
        ({"random_resized_crop": (0.5, 0.2)}, r"\(0.5, 0.2\)"),
        ({"flip": 1}, "flip must be True or False. Received: 1"),
        ({"max_shift": -1}, "max_shift must be at least 0"),
        ({"max_shift": 1.5}, "max_shift must be an int"),
        ({"brightness": 1.5}, "brightness must be a number from 0 to 1. Received: 1.5"),
        ({"contrast": -0.1}, "contrast must be"),
        ({"saturation": True}, "saturation must be"),
    ],
)
def test_values_that_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**values)


def test_augmentations_that_do_not_fit_the_images():
    with pytest.raises(ValueError, match=r"3 channels; these have 1"):
        one_batch(random_images(channels=1), Augmentation(saturation=0.5))
    with pytest.raises(ValueError, match=r"at most the image size 8. Received: 9"):
        one_batch(random_images(), Augmentation(max_shift=9))
