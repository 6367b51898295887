"""Arrays and tf.data of one's own become the same four splits."""

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf.data import DATASETS, DataError, DataSplits, Split, collecting, load


def arrays(count=40, channels=1, dtype=np.uint8):
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 6, channels)).astype(np.uint8)
    images = images if dtype == np.uint8 else (images / 255).astype(dtype)
    return images, np.arange(count) % 4


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_arrays(dtype):
    images, labels = arrays(dtype=dtype)
    data = DataSplits.from_arrays((images, labels), resolution=6, test_size=8, calibration=5)
    parts = (data.train, data.search_validation, data.test)
    assert [len(part) for part in parts] == [28, 4, 8]
    assert len(data.calibration) == 5
    assert sorted(np.concatenate([part.indices for part in parts])) == list(range(40))
    expected = images / 255 if dtype == np.uint8 else images
    for part in parts:
        np.testing.assert_allclose(part.read_images(), expected[part.indices], atol=1e-7)
        np.testing.assert_array_equal(part.labels, labels[part.indices])
    again = DataSplits.from_arrays((images, labels), resolution=6, test_size=8, calibration=5)
    assert again.calibration.fingerprint() == data.calibration.fingerprint()
    resized = DataSplits.from_arrays((images, labels), resolution=8, test_size=8, calibration=5)
    assert resized.calibration.fingerprint() != data.calibration.fingerprint()


@pytest.mark.parametrize("batch", [None, 7])
def test_datasets_are_arrays(batch):
    images, labels = arrays(channels=3)
    train = tf.data.Dataset.from_tensor_slices((images, labels))
    test = tf.data.Dataset.from_tensor_slices((images[:10] / 255, labels[:10]))  # float64
    if batch:
        train, test = train.batch(batch), test.batch(batch)
    data = DataSplits.from_datasets(train, test, resolution=6, name="mine", class_names="abcd")
    expected = DataSplits.from_arrays((images, labels), (images[:10], labels[:10]), resolution=6)
    assert (data.name, data.class_names, data.num_classes) == ("mine", tuple("abcd"), 4)
    for name in ("train", "calibration", "search_validation", "test"):
        one, other = getattr(data, name), getattr(expected, name)
        np.testing.assert_allclose(one.read_images(), other.read_images(), atol=1e-7)
        np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        (np.zeros((4, 6, 6, 1), np.uint8), r"must be \(image, label\)"),
        ((np.zeros((4, 6, 6), np.uint8), np.zeros(4, int)), r"\[height, width, channels\]"),
        ((np.zeros((4, 6, 6, 1), np.uint8), np.zeros((4, 3), int)), r"one-hot"),
        ((np.zeros((4, 6, 6, 1), np.uint8), np.zeros(4)), r"integer scalars"),
        ((np.zeros((4, 6, 6, 1), np.int64), np.zeros(4, int)), r"uint8 or float.*int64"),
    ],
)
def test_datasets_that_are_refused(elements, message):
    with pytest.raises(DataError, match=message):
        DataSplits.from_datasets(tf.data.Dataset.from_tensor_slices(elements), resolution=6)


def test_datasets_that_never_end_or_are_empty_or_uneven_or_too_large(monkeypatch):
    dataset = tf.data.Dataset.from_tensor_slices(arrays())
    with pytest.raises(DataError, match=r"without repeat\(\)"):
        DataSplits.from_datasets(dataset.repeat(), resolution=6)
    with pytest.raises(DataError, match="empty"):
        DataSplits.from_datasets(dataset.take(0), resolution=6)
    images = tf.ragged.constant([[[[0.5]]], [[[0.5], [0.5]]]], ragged_rank=2)
    uneven = tf.data.Dataset.range(2).map(lambda i: (images[i].to_tensor(), i))
    with pytest.raises(DataError, match="different sizes"):
        DataSplits.from_datasets(uneven, resolution=6)
    monkeypatch.setattr(collecting, "MEMORY_LIMIT", 1000)
    with pytest.raises(DataError, match=r"'folder:DIR'"):
        DataSplits.from_datasets(dataset, resolution=6)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 2, 2), np.uint8), np.zeros(3, int), r"\[N, height, width, channels\]"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.zeros(2, int), r"labels \[N\]"),
        (np.zeros((3, 2, 2, 4), np.uint8), np.zeros(3, int), r"1 \(grey\) or 3 .*Received: 4"),
        (np.zeros((3, 2, 2, 1), np.int32), np.zeros(3, int), r"uint8 or float32.*int32"),
        (np.full((3, 2, 2, 1), 255.0, np.float32), np.zeros(3, int), r"by 255.*255.0 to 255.0"),
        (np.full((3, 2, 2, 1), np.nan, np.float32), np.zeros(3, int), r"\[0, 1\].*nan"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.zeros(3), r"Labels must be integers"),
        (np.zeros((3, 2, 4, 1), np.uint8), np.zeros(3, int), r"2 x 4 pixels need a resolution"),
    ],
)
def test_arrays_that_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split.from_arrays(images, labels)


def test_sets_that_contradict_each_other():
    images, labels = arrays()
    with pytest.raises(DataError, match=r"training labels must be from 0 to 2. Received: 0 to 3"):
        DataSplits.from_arrays((images, labels), resolution=6, num_classes=3)
    colours = np.repeat(images, 3, axis=-1), labels
    with pytest.raises(DataError, match=r"Training images have 1 channels, test images 3"):
        DataSplits.from_arrays((images, labels), colours, resolution=6)
    with pytest.raises(DataError, match=r"no training images"):
        DataSplits.from_arrays((images[:0], labels[:0]), resolution=6)


def test_a_loader_by_module_and_function(tmp_path, monkeypatch):
    (tmp_path / "my_photos.py").write_text(
        "import numpy as np\n"
        "from qfa_tf.data import DataSplits\n"
        "def load_them(resolution, search_validation=None):\n"
        "    pair = np.zeros((20, 4, 4, 1), np.uint8), np.arange(20) % 2\n"
        "    return DataSplits.from_arrays(\n"
        "        pair, resolution=resolution, search_validation=search_validation\n"
        "    )\n"
        "def broken(resolution):\n"
        "    return resolution\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    data = load("python:my_photos:load_them", 8, search_validation=7)
    assert data.train.image_shape == (8, 8, 1)
    assert len(data.search_validation) == 7
    for name, message in {
        "python:my_photos": r"'python:MODULE:FUNCTION'. Received: 'python:my_photos'",
        "python:my_photo:load_them": r"No module named 'my_photo'.*PYTHONPATH",
        "python:my_photos:load_it": r"my_photos has no function 'load_it'",
        "python:my_photos:broken": r"must return DataSplits.*int",
    }.items():
        with pytest.raises(DataError, match=message):
            load(name, 8)


def test_a_registered_name(monkeypatch):
    def mine(resolution, eval_crop=None):
        return DataSplits.from_arrays(arrays(), resolution=resolution, eval_crop=eval_crop)

    monkeypatch.setitem(DATASETS, "mine", mine)
    assert load("mine", 12, eval_crop=0.5).train.eval_crop == 0.5
    with pytest.raises(DataError, match=r"'mine'.*'folder:DIR'.*Received: 'imagenet'"):
        load("imagenet", 8)
