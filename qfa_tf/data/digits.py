"""The 1797 handwritten digits that scikit-learn brings along."""

import numpy as np
import tensorflow as tf

from qfa_tf.data.data_splits import DataSplits
from qfa_tf.data.options import LoadOptions
from qfa_tf.data.split import Split
from qfa_tf.data.splitting import SPLIT_SEED, stratified_indices
from quantize_configs.errors import MissingExtraError

_DEFAULT_SIZES = {"search_validation": 300, "test": 400, "calibration": 512}


def load_digits(resolution: int, **options) -> DataSplits:
    """1797 grey digits of 8 x 8 pixels, enlarged bilinearly.

    Args:
      resolution: Height and width, in pixels.
      **options: Fields of `LoadOptions`. By default 400 images are for testing, 300 for search
        validation and 512 for calibration.

    Raises:
      MissingExtraError: scikit-learn is not installed.
      DataError: There are too few images for these sizes.
    """
    given = {key: value for key, value in options.items() if value is not None}
    chosen = LoadOptions(**(_DEFAULT_SIZES | given))
    try:
        from sklearn.datasets import load_digits as sklearn_digits
    except ImportError as error:
        raise MissingExtraError("The data set 'digits'", "scikit-learn", "data") from error

    bunch = sklearn_digits()
    images = (bunch.images / 16.0).astype(np.float32)[..., None]
    images = tf.image.resize(images, (resolution, resolution)).numpy()
    labels = bunch.target.astype(np.int32)
    everything = Split.from_arrays(np.clip(images, 0.0, 1.0), labels, eval_crop=chosen.eval_crop)
    rng = np.random.default_rng(SPLIT_SEED)
    validation_size, test_size = chosen.sizes.held_out(len(labels), with_test=True)
    test, validation, train = stratified_indices(labels, (test_size, validation_size), rng)
    calibration = rng.permutation(train)[: chosen.sizes.calibrating(len(train))]
    return DataSplits(
        name="digits",
        num_classes=10,
        train=everything.take(train),
        calibration=everything.take(calibration),
        search_validation=everything.take(validation),
        test=everything.take(test),
        class_names=tuple("0123456789"),
    )
