"""Folders of image files: layouts, decoding when needed, damage."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from image_files import smooth_images, write_images

from qfa_tf.data import Augmentation, DataError, batches, load, training_batches
from qfa_tf.data.encoded_images import EncodedImages
from qfa_tf.data.sources import ArrayImages


def both_ways(folder, resolution, **options):
    """In memory, and decoded when needed."""
    kept = load(f"folder:{folder}", resolution, **options)
    lazy = load(f"folder:{folder}", resolution, memory_limit=0, **options)
    assert isinstance(kept.train.source, ArrayImages)
    assert isinstance(lazy.train.source, EncodedImages)
    return kept, lazy


def test_train_and_test_folders(colour_folder):
    kept, lazy = both_ways(colour_folder, 20, search_validation=8, calibration=16)
    for data in (kept, lazy):
        assert (data.num_classes, data.class_names) == (2, ("apple", "pear"))
        assert data.train.image_shape == (20, 20, 3)
        sizes = [len(getattr(data, name)) for name in ("train", "search_validation", "test")]
        assert sizes == [24, 8, 8]
        for split in (data.train, data.search_validation, data.calibration, data.test):
            np.testing.assert_array_equal(np.bincount(split.labels), [len(split) // 2] * 2)
        assert not set(data.train.indices) & set(data.search_validation.indices)
    for name in ("train", "search_validation", "calibration", "test"):
        one, other = getattr(kept, name), getattr(lazy, name)
        np.testing.assert_array_equal(one.indices, other.indices)
        np.testing.assert_array_equal(one.labels, other.labels)
    for image, label in zip(kept.test.read_images(), kept.test.labels, strict=True):
        files = (colour_folder / "test" / kept.class_names[label]).iterdir()
        originals = np.stack([tf.io.decode_png(path.read_bytes()) for path in files])
        expected = tf.image.resize(originals / 255.0, (20, 20), antialias=True).numpy()
        assert np.abs(expected - image).max((1, 2, 3)).min() < 1e-5


def test_lazy_batches_are_those_of_memory(colour_folder):
    kept, lazy = both_ways(colour_folder, 16, eval_crop=0.8)
    augmentation = Augmentation(
        random_resized_crop=(0.1, 1.0), flip=True, max_shift=1, brightness=0.1, saturation=0.5
    )
    options = {"seed": 5, "first_step": 4, "augmentation": augmentation}
    one, other = (
        list(training_batches(data.train, 6, **options).take(3).as_numpy_iterator())
        for data in (kept, lazy)
    )
    for (images, labels), (other_images, other_labels) in zip(one, other, strict=True):
        np.testing.assert_array_equal(labels, other_labels)
        np.testing.assert_allclose(images, other_images, atol=1e-5)
    evaluated = list(batches(lazy.test, 3).as_numpy_iterator())
    assert [len(labels) for _, labels in evaluated] == [3, 3, 2]
    images = np.concatenate([images for images, _ in evaluated])
    np.testing.assert_allclose(images, kept.test.read_images(), atol=1e-5)
    resumed = training_batches(lazy.train, 6, seed=5, first_step=5, augmentation=augmentation)
    np.testing.assert_array_equal(next(resumed.as_numpy_iterator())[0], other[1][0])


def test_jpeg_files_of_several_sizes(tmp_path):
    originals = {}
    for name, seed in (("cat", 1), ("dog", 2)):
        images = [smooth_images(1, 30 + 20 * i, 70, 3, seed=seed)[0] for i in range(6)]
        write_images(
            tmp_path / name, images, lambda image: tf.io.encode_jpeg(image, quality=95), "jpg"
        )
        originals[name] = [
            tf.image.resize(image[None] / 255.0, (16, 16), antialias=True)[0] for image in images
        ]
    data = load(f"folder:{tmp_path}", 16, search_validation=2, test=2)
    assert isinstance(data.train.source, EncodedImages)
    assert [len(split) for split in (data.train, data.search_validation, data.test)] == [8, 2, 2]
    for image, label in zip(data.train.read_images(), data.train.labels, strict=True):
        known = np.stack(originals[data.class_names[label]])
        assert np.abs(known - image).mean((1, 2, 3)).min() < 0.02
    crops = training_batches(
        data.train, 8, seed=0, augmentation=Augmentation(random_resized_crop=(0.05, 0.5))
    )
    images, _ = next(crops.as_numpy_iterator())
    assert images.shape == (8, 16, 16, 3)
    assert images.min() >= 0
    assert images.max() <= 1


def test_grey_images_and_a_validation_folder(tmp_path):
    for part in ("train", "val"):
        for name in ("a", "b"):
            write_images(tmp_path / part / name, smooth_images(6, 9, 9, 1))
    (tmp_path / "train" / "a" / "notes.txt").write_text("not an image")
    data = load(f"folder:{tmp_path}", 9)
    assert data.train.image_shape == (9, 9, 1)
    assert len(data.test) == 12
    expected = smooth_images(6, 9, 9, 1)
    found = {image.tobytes() for image in (data.test.read_images() * 255).round().astype(np.uint8)}
    assert found == {image.tobytes() for image in expected}


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_damaged_images_are_named(colour_folder, tmp_path, damage):
    root = tmp_path / "copy"
    shutil.copytree(colour_folder, root)
    path = root / "train" / "pear" / "007.png"
    content = {"truncated": path.read_bytes()[:300], "text": b"hello", "empty": b""}[damage]
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged.*train/pear/007\.png\.$"):
        load(f"folder:{root}", 20)


def test_images_damaged_later_are_named_by_the_pipeline(colour_folder, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(colour_folder, root)
    data = load(f"folder:{root}", 20, memory_limit=0)
    before = data.test.fingerprint()
    bad = next((root / "test" / "pear").iterdir())
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"is damaged.*{bad.name}"):
        data.test.read_images()
    assert data.test.fingerprint() != before
    bad.unlink()
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"cannot be read.*{bad.name}"):
        data.test.read_images()
    with pytest.raises(DataError, match=rf"{bad.name} cannot be read"):
        data.test.fingerprint()


def test_folders_that_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere.*DIR/train/CLASS"):
        load(f"folder:{tmp_path}/nowhere", 8)
    with pytest.raises(DataError, match=r"folder for each of two classes or more.*\[\]"):
        load(f"folder:{tmp_path}", 8)
    for name in ("a", "b"):
        write_images(tmp_path / "train" / name, smooth_images(3, 8, 8, 1))
    (tmp_path / "train" / "c").mkdir()
    with pytest.raises(DataError, match=r"no images .*in .*train/c\."):
        load(f"folder:{tmp_path}", 8)
    (tmp_path / "train" / "c").rmdir()
    write_images(tmp_path / "test" / "z", smooth_images(1, 8, 8, 1))
    with pytest.raises(DataError, match=r"test has classes that .*train has not: \['z'\]"):
        load(f"folder:{tmp_path}", 8)
