"""Data sets of TensorFlow Datasets, prepared here with its own builders, without any download."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from qfa_tf.data import DataError, load, training_batches
from qfa_tf.data.encoded_images import EncodedImages
from qfa_tf.data.sources import ArrayImages

CLASSES = ("low", "middle", "high")


class QfaLevels(tfds.core.GeneratorBasedBuilder):
    """Images of one level, which tells the class."""

    VERSION = tfds.core.Version("1.2.0")
    SIZES = {"train": 60, "test": 12}  # noqa: RUF012
    UNLABELLED = ()

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=CLASSES),
            "id": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(name) for name in self.SIZES}

    def _generate_examples(self, name):
        for number in range(self.SIZES[name]):
            image = np.full((8, 10, 3), 4 * number, np.uint8)
            label = -1 if name in self.UNLABELLED else number % 3
            yield number, {"image": image, "label": label, "id": str(number)}


class QfaContest(QfaLevels):
    """The test images have no labels."""

    SIZES = {"train": 30, "validation": 9, "test": 6}  # noqa: RUF012
    UNLABELLED = ("test",)


class QfaTrainOnly(QfaLevels):
    """There is nothing but training images."""

    SIZES = {"train": 30}  # noqa: RUF012


class QfaUnreachable(QfaLevels):
    """Would need a network."""

    def _split_generators(self, dl_manager):
        raise ConnectionError("no route to example.org")


class QfaTexts(QfaLevels):
    """Not images."""

    def _info(self):
        features = {"id": tfds.features.Text(), "label": tfds.features.ClassLabel(names=CLASSES)}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("id", "label"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples("train")}

    def _generate_examples(self, name):
        yield 0, {"id": "x", "label": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


def levels(split):
    return (split.read_images()[:, 0, 0, 0] * 255).round().astype(int) // 4


def test_prepared_in_the_first_load_and_read_both_ways(folder):
    kept = load(f"tfds:qfa_levels@{folder}", 8)
    lazy = load(f"tfds:qfa_levels@{folder}", 8, memory_limit=0)
    assert isinstance(kept.train.source, ArrayImages)
    assert isinstance(lazy.train.source, EncodedImages)
    for data in (kept, lazy):
        assert (data.name, data.num_classes) == ("qfa_levels/1.2.0", 3)
        assert data.class_names == CLASSES
        assert data.train.image_shape == (8, 8, 3)
    seen = {name: levels(getattr(kept, name)) for name in ("train", "search_validation")}
    assert sorted(np.concatenate(list(seen.values()))) == list(range(60))
    assert sorted(levels(kept.test)) == list(range(12))
    np.testing.assert_array_equal(kept.train.labels, seen["train"] % 3)
    np.testing.assert_array_equal(np.bincount(kept.search_validation.labels), [2, 2, 2])
    for name in ("train", "search_validation", "calibration", "test"):
        one, other = getattr(kept, name), getattr(lazy, name)
        np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_array_equal(kept.test.labels, lazy.test.labels)
    one, other = (
        next(training_batches(data.train, 16, seed=0, first_step=7).as_numpy_iterator())
        for data in (kept, lazy)
    )
    np.testing.assert_allclose(one[0], other[0], atol=1e-6)
    np.testing.assert_array_equal(one[1], other[1])


def test_the_reader_agrees_with_that_of_tfds(folder):
    data = load(f"tfds:qfa_levels@{folder}", 8)
    expected = {
        (int(image[0, 0, 0]), int(label))
        for image, label in tfds.as_numpy(
            tfds.load("qfa_levels", split="test", data_dir=folder, as_supervised=True)
        )
    }
    assert set(zip(4 * levels(data.test), data.test.labels, strict=True)) == expected


def test_test_images_without_labels_are_not_used(folder):
    data = load(f"tfds:qfa_contest@{folder}", 8)
    assert sorted(levels(data.test)) == list(range(9))  # the validation split


def test_without_test_images_some_are_held_out(folder):
    data = load(f"tfds:qfa_train_only@{folder}", 8, test=6, search_validation=3)
    parts = [levels(split) for split in (data.train, data.search_validation, data.test)]
    assert [len(part) for part in parts] == [21, 3, 6]
    assert sorted(np.concatenate(parts)) == list(range(30))


def test_what_cannot_be_downloaded(folder):
    with pytest.raises(
        DataError, match=r"could not be prepared \(ConnectionError: no route.*tfds build "
    ):
        load(f"tfds:qfa_unreachable@{folder}", 8)


def test_what_is_not_images(folder):
    with pytest.raises(DataError, match=r"must have uint8 images .*\('id', 'label'\)"):
        load(f"tfds:qfa_texts@{folder}", 8)


def test_names_that_are_refused(folder):
    with pytest.raises(DataError, match=r"knows no 'no_such_set'.*list_builders"):
        load(f"tfds:no_such_set@{folder}", 8)
    with pytest.raises(DataError, match=r"cannot make 'qfa_levels:9\.9\.9'"):
        load(f"tfds:qfa_levels:9.9.9@{folder}", 8)
    for name in ("tfds:@folder", "tfds:qfa_levels@"):
        with pytest.raises(DataError, match=r"'tfds:NAME@DATA_DIR'. Received: " + repr(name)):
            load(name, 8)


def test_damaged_records_are_named(folder):
    data = load(f"tfds:qfa_contest@{folder}", 8, memory_limit=0)
    (path,) = (folder / "qfa_contest" / "1.2.0").glob("*-train.tfrecord*")
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"train\.tfrecord.* is damaged: 29 of 30 examples"):
        load(f"tfds:qfa_contest@{folder}", 8)
    place = data.train.source.name(data.train.indices[0]).numpy().decode()
    content[int(place.split(", byte ")[1]) + 40] ^= 1  # within the data of the record
    path.write_bytes(content)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"is damaged.*tfrecord.*, byte \d+"):
        list(training_batches(data.train, 27, seed=0).take(1))
    with pytest.raises(DataError, match="is damaged"):
        load(f"tfds:qfa_contest@{folder}", 8, memory_limit=0)
