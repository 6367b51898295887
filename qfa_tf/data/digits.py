"""The 1797 handwritten digits that scikit-learn brings along."""

import numpy as np
import tensorflow as tf

from qfa_tf.data.splits import DataSplits, Split, stratified_indices

SPLIT_SEED = 20211206


def load_digits(resolution: int) -> DataSplits:
    """1797 handwritten digits of scikit-learn, 8x8, enlarged."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images / 16.0).astype(np.float32)[..., None]
    images = tf.image.resize(images, (resolution, resolution)).numpy()
    labels = bunch.target.astype(np.int32)
    everything = Split.from_arrays(np.clip(images, 0.0, 1.0), labels)
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
        class_names=tuple("0123456789"),
    )
