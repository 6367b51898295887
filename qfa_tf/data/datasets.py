"""The data sets by name."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from qfa_tf.data.splits import DataSplits, Split, stratified_indices

SPLIT_SEED = 20211206


def load_dataset(name: str, resolution: int) -> DataSplits:
    """Loads a data set in its four splits.

    Args:
      name: One of `DATASETS`.
      resolution: Height and width of the images, in pixels.

    Raises:
      ValueError: There is no such data set.
    """
    if name not in DATASETS:
        raise ValueError(f"The data sets are {sorted(DATASETS)}. Received: {name!r}.")
    return DATASETS[name](resolution)


def _digits(resolution: int) -> DataSplits:
    """1797 handwritten digits of scikit-learn, 8x8, enlarged."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images / 16.0).astype(np.float32)[..., None]
    images = tf.image.resize(images, (resolution, resolution)).numpy()
    labels = bunch.target.astype(np.int32)
    everything = Split(np.clip(images, 0.0, 1.0), labels)
    rng = np.random.default_rng(SPLIT_SEED)
    test, validation, train = stratified_indices(labels, (400, 300), rng)
    calibration = rng.permutation(train)[:512]
    return DataSplits(
        name="digits",
        num_classes=10,
        train=everything.take(train),
        calibration=everything.take(calibration),
        search_validation=everything.take(validation),
        test=everything.take(test),
    )


DATASETS: Mapping[str, Callable[[int], DataSplits]] = {"digits": _digits}
