"""Data sets of TensorFlow Datasets, which is imported when one is asked for."""

import os
from typing import Any

import numpy as np

from qfa_tf.data.data_splits import DataSplits
from qfa_tf.data.division import BY_POSITION
from qfa_tf.data.errors import DataError
from qfa_tf.data.in_memory import in_memory
from qfa_tf.data.options import LoadOptions
from qfa_tf.data.split import Split
from qfa_tf.data.tfds_records import RecordImages
from quantize_configs.errors import MissingExtraError

TEST_SPLITS = ("test", "validation", "val")


def load_tfds(where: str, resolution: int, **options) -> DataSplits:
    """An image classification data set of TensorFlow Datasets.

    It is prepared (downloaded and converted) first, if it is not yet.

    Args:
      where: "NAME" as `tfds.load` takes it ("mnist", "cifar10:3.0.2", "name/config"), or
        "NAME@DATA_DIR" for another folder than ~/tensorflow_datasets.
      resolution: Height and width to which the pipelines resize.
      **options: Fields of `LoadOptions`.

    The test images are those of the first of the splits "test" and "validation" that has labels;
    without any, some of the training images are held out.

    Raises:
      DataError: There is no such data set, it cannot be prepared, or it is not one of images with
        one label each.
    """
    chosen = LoadOptions(**options)
    builder = _prepared(*_name_and_folder(where))
    info = builder.info
    if "train" not in info.splits:
        raise DataError(f"{info.full_name} has no split 'train', only {sorted(info.splits)}.")
    sources = [_source(builder, "train", None)]
    if not len(sources[0]):
        raise DataError(f"{info.full_name} has no training images.")
    for name in TEST_SPLITS:
        if name not in info.splits or not info.splits[name].num_examples:
            continue
        source = _source(builder, name, sources[0].channels)
        if source.labels(np.array([0]))[0] >= 0:  # contests publish test images without labels
            sources.append(source)
            break
    splits = []
    for source in sources:
        images = in_memory(source, resolution, chosen.bytes_in_memory)
        splits.append(Split(images, np.arange(len(images)), resolution, chosen.eval_crop))
    label = info.features[info.supervised_keys[1]]
    return DataSplits.divide(
        info.full_name,
        label.num_classes,
        *splits,
        sizes=chosen.sizes,
        rule=BY_POSITION,
        class_names=label.names if label.num_classes else (),
    )


def _name_and_folder(where: str) -> tuple[str, str | None]:
    name, mark, folder = where.partition("@")
    if not name or (mark and not folder):
        raise DataError(
            "TensorFlow Datasets are named 'tfds:NAME' or 'tfds:NAME@DATA_DIR'. Received: "
            f"{'tfds:' + where!r}."
        )
    return name, os.path.expanduser(folder) if folder else None


def _prepared(name: str, folder: str | None) -> Any:
    """The builder of a data set on this disk."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise MissingExtraError(
            f"The data set 'tfds:{name}'", "tensorflow-datasets", "data"
        ) from error
    try:
        builder = tfds.builder(name, data_dir=folder)
    except tfds.core.DatasetNotFoundError as error:
        raise DataError(
            f"TensorFlow Datasets knows no {name!r}, and none was prepared in "
            f"{folder or '~/tensorflow_datasets'}. tfds.list_builders() lists what it knows."
        ) from error
    except Exception as error:  # versions and configs that do not exist raise various kinds
        raise DataError(f"TensorFlow Datasets cannot make {name!r}: {error}") from error
    if not builder.is_prepared():
        command = f"tfds build {name}" + (f" --data_dir={folder}" if folder else "")
        try:
            builder.download_and_prepare()
        except Exception as error:  # anything from the network to a full disk
            raise DataError(
                f"The data set {name!r} is not in {builder.data_dir} and could not be prepared "
                f"({type(error).__name__}: {str(error).strip()[:500]}). Run '{command}' on a "
                "machine with network and copy its folder, or load another format."
            ) from error
    return builder


def _source(builder: Any, split: str, channels: int | None) -> RecordImages:
    import tensorflow_datasets as tfds

    info = builder.info
    keys = tuple(info.supervised_keys or ())
    parts = [info.features[key] for key in keys if key in info.features]
    if (
        len(parts) != 2
        or not isinstance(parts[0], tfds.features.Image)
        or not isinstance(parts[1], tfds.features.ClassLabel)
        or parts[0].np_dtype != np.uint8
    ):
        raise DataError(
            f"{info.full_name} must have uint8 images with one class label each as its supervised "
            f"keys. It has the keys {keys} and the features {info.features}."
        )
    if info.file_format != tfds.core.FileFormat.TFRECORD:
        raise DataError(
            f"{info.full_name} is stored as {info.file_format.value}; only tfrecord is read. "
            f"Convert it: tfds convert_format --dataset_dir={builder.data_dir} "
            "--out_file_format=tfrecord."
        )
    image_key, label_key = keys
    stored = info.splits[split]
    declared = {1: 1, 3: 3, 4: 3}.get(parts[0].shape[-1])
    return RecordImages(
        f"{info.full_name} {split}",
        stored.filepaths,
        stored.shard_lengths,
        image_key,
        label_key,
        channels or declared,
    )
