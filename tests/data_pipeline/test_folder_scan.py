"""One scan finds everything that is wrong with a folder of images, and is not repeated."""

import os
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
from image_files import smooth_images, write_images

from qfa_tf.data import DataError, load, scanning


@pytest.fixture
def folder(tmp_path):
    """Two classes of 12 grey images; old enough for the cache."""
    for label, name in enumerate(("apple", "pear")):
        write_images(tmp_path / name, smooth_images(12, 8, 8, 1, seed=label))
    settle(tmp_path)
    return tmp_path


def settle(root):
    past = time.time() - 100
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (past, past))


def damage(folder):
    for name, content in (("apple/003.png", b""), ("pear/001.png", b"hello")):
        (folder / name).write_bytes(content)
    path = folder / "pear/007.png"
    path.write_bytes(path.read_bytes()[:60])


def test_all_damaged_images_are_named_at_once(folder):
    damage(folder)
    with pytest.raises(DataError, match="3 of the 24 image files cannot be read") as caught:
        load(f"folder:{folder}", 8)
    for name in ("apple/003.png", "pear/001.png", "pear/007.png", "--skip_damaged"):
        assert name in str(caught.value)


@pytest.mark.parametrize("memory_limit", [None, 0])
def test_damaged_images_are_left_out_on_request(folder, memory_limit):
    whole = load(f"folder:{folder}", 8, memory_limit=memory_limit)
    damage(folder)
    data = load(f"folder:{folder}", 8, memory_limit=memory_limit, skip_damaged=True)
    splits = (data.train, data.search_validation, data.test)
    assert sum(map(len, splits)) == 21
    assert data.report.skipped == ("apple/003.png", "pear/001.png", "pear/007.png")
    assert "Left out 3 damaged images of 24: apple/003.png, " in data.report.sentences()[0]
    for part, before in zip(
        splits, (whole.train, whole.search_validation, whole.test), strict=True
    ):
        assert set(part.name_ids()) <= set(before.name_ids())  # by default nothing moves
        assert np.isfinite(part.read_images()).all()


def test_everything_else_is_told(folder):
    (folder / "apple" / "notes.txt").write_text("notes")
    (folder / "apple" / "photo.webp").write_bytes(b"RIFF")
    (folder / "pear" / ".hidden.png").write_bytes(b"")
    (folder / "labels.csv").write_text("names")
    (folder / "lost.png").write_bytes((folder / "apple" / "001.png").read_bytes())
    (folder / "pear" / ".DS_Store").write_bytes(b"")
    write_images(folder / "pear" / "more", smooth_images(2, 8, 8, 1))
    copied = (folder / "apple" / "000.png").read_bytes()
    (folder / "apple" / "100.png").write_bytes(copied)
    (folder / "pear" / "100.png").write_bytes(copied)
    colour = smooth_images(1, 8, 8, 3)[0]
    (folder / "pear" / "101.png").write_bytes(tf.io.encode_png(colour).numpy())
    data = load(f"folder:{folder}", 8)
    assert data.train.image_shape == (8, 8, 3)
    report = data.report
    assert report.ignored == {".txt": 1, ".webp": 1, ".png": 1, ".csv": 1}
    assert report.nested == ("pear/more",)
    assert report.outside == ("lost.png",)
    assert report.channels == {1: 26, 3: 1}
    assert report.copies == 2
    assert set(report.ambiguous) == {"apple/000.png", "apple/100.png", "pear/100.png"}
    text = "\n".join(report.sentences())
    for part in (
        "Ignored 4 files of other kinds than images: 1 .csv, 1 .png, 1 .txt, 1 .webp.",
        "Ignored 1 image beside the class folders: lost.png.",
        "Ignored 1 folder within class folders: pear/more.",
        "Of 27 images 26 are grey and become RGB.",
        "Of the images 3 have the content of one in another class",
        "Of the training images 2 are copies of others.",
    ):
        assert part in text
    splits = (data.train, data.search_validation, data.test)
    contents = [set(split.content_ids()) for split in splits]
    assert not contents[0] & contents[1] | contents[0] & contents[2] | contents[1] & contents[2]


def test_test_images_that_are_training_images(colour_folder, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(colour_folder, root)
    assert load(f"folder:{root}", 20).report.sentences() == []
    shutil.copy(root / "train" / "pear" / "003.png", root / "test" / "pear" / "900.png")
    (sentence,) = load(f"folder:{root}", 20).report.sentences()
    assert "Of the test images 1 have the content of training images" in sentence
    assert "test/pear/900.png" in sentence


def test_all_empty_classes_are_named(folder):
    for name in ("banana", "cherry"):
        (folder / name).mkdir()
    with pytest.raises(DataError, match=r"no images \(.*\) in .*banana, .*cherry\.$"):
        load(f"folder:{folder}", 8)


def test_damage_and_empty_classes_are_told_together(folder):
    damage(folder)
    (folder / "banana").mkdir()
    with pytest.raises(DataError, match=r"3 of the 24 .*pear/007\.png\. .*no images .*banana\.$"):
        load(f"folder:{folder}", 8)


def looked_at(monkeypatch):
    """Files that are read from now on."""
    seen = []
    look_at = scanning._look_at
    monkeypatch.setattr(scanning, "_look_at", lambda path: seen.append(path.name) or look_at(path))
    return seen


def test_files_are_read_again_only_when_they_changed(folder, monkeypatch):
    seen = looked_at(monkeypatch)
    first = load(f"folder:{folder}", 8)
    assert len(seen) == 24
    seen.clear()
    again = load(f"folder:{folder}", 8)
    assert seen == []
    np.testing.assert_array_equal(first.train.indices, again.train.indices)
    write_images(folder / "new", smooth_images(1, 8, 8, 1, seed=5))
    (folder / "new" / "000.png").rename(folder / "apple" / "005.png")
    (folder / "new").rmdir()
    load(f"folder:{folder}", 8)
    assert seen == ["005.png"]
    seen.clear()
    load(f"folder:{folder}", 8)
    assert seen == ["005.png"]  # so young that it could change again within its time stamp
    settle(folder)
    seen.clear()
    load(f"folder:{folder}", 8)
    load(f"folder:{folder}", 8)
    assert len(seen) == 24  # all times changed, once


def test_a_damaged_or_missing_cache_does_no_harm(folder, monkeypatch):
    first = load(f"folder:{folder}", 8)
    path = scanning.cache_file(folder)
    path.write_bytes(path.read_bytes()[:50])
    seen = looked_at(monkeypatch)
    again = load(f"folder:{folder}", 8)
    assert len(seen) == 24
    np.testing.assert_array_equal(first.test.indices, again.test.indices)
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    load(f"folder:{folder}", 8)


def test_progress_is_told(folder):
    told = []
    load(f"folder:{folder}", 8, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (24, 24)
    told.clear()
    load(f"folder:{folder}", 8, on_progress=lambda done, total: told.append((done, total)))
    assert told == []
