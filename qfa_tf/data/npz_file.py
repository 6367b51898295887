"""Images and labels in one file of NumPy."""

import pathlib

import numpy as np

from qfa_tf.data.data_splits import DataSplits
from qfa_tf.data.errors import DataError
from qfa_tf.data.options import LoadOptions

ARRAYS = ("images", "labels")


def load_npz(path: str, resolution: int, **options) -> DataSplits:
    """The arrays `images` and `labels` of a .npz file, divided as images of one's own.

    Args:
      path: Of the file; `images` are uint8, or float32 in [0, 1], [N, height, width, channels].
      resolution: Height and width to which the pipelines resize.
      **options: Fields of `LoadOptions`.

    Raises:
      DataError: There is no such file, or it holds something else.
    """
    chosen = LoadOptions(**options)
    file = pathlib.Path(path).expanduser()
    try:
        with np.load(file) as content:
            pair = tuple(content[name] for name in ARRAYS)
    except FileNotFoundError:
        raise DataError(f"There is no file {file}.") from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{file} must be a .npz file with the arrays {list(ARRAYS)}: {error}. Write it with "
            "numpy.savez(path, images=images, labels=labels)."
        ) from error
    return DataSplits.from_arrays(
        (pair[0], pair[1]),
        resolution=resolution,
        name=file.stem,
        eval_crop=chosen.eval_crop,
        search_validation=chosen.search_validation,
        test_size=chosen.test,
        calibration=chosen.calibration,
    )
