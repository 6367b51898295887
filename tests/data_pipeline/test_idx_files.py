"""The format of MNIST, from written files and from Debian's Fashion-MNIST."""

import gzip
import pathlib
import struct

import numpy as np
import pytest

from qfa_tf.data import DataError, batches, load

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def idx(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def make_files(root, ending="", mark="-", dimensions=3):
    rng = np.random.default_rng(0)
    arrays = {}
    for kind, count in (("train", 50), ("t10k", 20)):
        shape = (count, 6, 6) + (3,) * (dimensions - 3)
        arrays[kind] = rng.integers(0, 256, shape), np.arange(count) % 5
        names = f"{kind}-images{mark}idx3-ubyte", f"{kind}-labels{mark}idx1-ubyte"
        for name, array in zip(names, arrays[kind], strict=True):
            content = idx(array)
            content = gzip.compress(content) if ending else content
            (root / (name + ending)).write_bytes(content)
    return arrays


@pytest.mark.parametrize(("ending", "mark"), [("", "-"), (".gz", "-"), ("", ".")])
def test_files_become_four_splits(tmp_path, ending, mark):
    arrays = make_files(tmp_path, ending, mark)
    data = load(f"idx:{tmp_path}", 6)
    sizes = [len(split) for split in (data.train, data.search_validation, data.calibration)]
    assert (data.num_classes, sizes, data.name) == (5, [45, 5, 45], tmp_path.name)
    assert data.train.source.images.dtype == np.uint8
    images, labels = arrays["t10k"]
    np.testing.assert_array_equal(data.test.labels, labels)
    np.testing.assert_array_equal(data.test.read_images()[..., 0], images.astype(np.float32) / 255)
    images, labels = arrays["train"]
    for split in (data.train, data.search_validation):
        np.testing.assert_array_equal(split.labels, labels[split.indices])
        np.testing.assert_array_equal(
            split.read_images()[..., 0], images[split.indices].astype(np.float32) / 255
        )
    assert not set(data.train.indices) & set(data.search_validation.indices)
    assert set(data.calibration.indices) <= set(data.train.indices)


def test_colour_images_and_chosen_sizes(tmp_path):
    make_files(tmp_path, dimensions=4)
    data = load(f"idx:{tmp_path}", 12, search_validation=10, calibration=16)
    assert data.train.image_shape == (12, 12, 3)
    sizes = [len(split) for split in (data.train, data.search_validation, data.calibration)]
    assert sizes == [40, 10, 16]


def test_what_is_missing_is_named_with_a_way_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*nowhere.*apt-get install dataset-fashion"):
        load(f"idx:{tmp_path}/nowhere", 28)
    make_files(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"no file t10k-labels-idx1-ubyte or .*gz.*apt-get"):
        load(f"idx:{tmp_path}", 28)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "not an IDX file of bytes: it begins with '3c 68 74 6d'"),
        (b"", "not an IDX file"),
        (struct.pack(">HBBI", 0, 13, 1, 0), "not an IDX file of bytes"),
        (idx(np.zeros((50, 6, 6)))[:-1], "should hold 50 x 6 x 6 bytes, but has 1799"),
        (idx(np.zeros((50, 6, 6)))[:9], "damaged"),
        (idx(np.zeros((49, 6, 6))), "as many labels as images"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    make_files(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(f"idx:{tmp_path}", 6)
    assert "train-images-idx3-ubyte" in str(caught.value)


def test_half_a_compressed_file(tmp_path):
    make_files(tmp_path, ".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz cannot be read"):
        load(f"idx:{tmp_path}", 6)


def test_test_labels_out_of_range(tmp_path):
    make_files(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(20, 7)))
    with pytest.raises(DataError, match=r"test labels must be from 0 to 4. Received: 7 to 7"):
        load(f"idx:{tmp_path}", 6)


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist():
    data = load(f"idx:{FASHION}", 32)
    sizes = [len(getattr(data, name)) for name in ("train", "search_validation", "test")]
    assert (data.num_classes, sizes) == (10, [54_000, 6_000, 10_000])
    np.testing.assert_array_equal(np.bincount(data.search_validation.labels), [600] * 10)
    np.testing.assert_array_equal(data.test.labels[:5], [9, 2, 1, 1, 6])
    images, _ = next(iter(batches(data.test, 100)))
    assert images.shape == (100, 32, 32, 1)
    assert 0.2 < images.numpy().mean() < 0.4
