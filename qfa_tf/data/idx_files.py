"""The file format of MNIST and Fashion-MNIST."""

import gzip
import pathlib
import zlib

import numpy as np

from qfa_tf.data.data_splits import DataSplits
from qfa_tf.data.division import BY_POSITION
from qfa_tf.data.errors import DataError
from qfa_tf.data.options import LoadOptions

_UINT8 = 8
_HINT = (
    "Fashion-MNIST is the Debian package dataset-fashion-mnist (apt-get install "
    "dataset-fashion-mnist), then load 'idx:/usr/share/datasets/fashion-mnist'; MNIST and others "
    "come as four files {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]."
)


def load_idx(directory: str, resolution: int, **options) -> DataSplits:
    """The four files of MNIST, Fashion-MNIST and their likes, plain or compressed with gzip.

    Args:
      directory: Holds {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz].
      resolution: Height and width to which the pipelines resize.
      **options: Fields of `LoadOptions`.

    Raises:
      DataError: A file is missing or damaged.
    """
    chosen = LoadOptions(**options)
    root = pathlib.Path(directory).expanduser()
    if not root.is_dir():
        raise DataError(f"There is no folder {root}. {_HINT}")
    pairs = [_pair(root, kind) for kind in ("train", "t10k")]
    return DataSplits.from_arrays(
        *pairs,
        resolution=resolution,
        name=root.resolve().name,
        eval_crop=chosen.eval_crop,
        search_validation=chosen.search_validation,
        calibration=chosen.calibration,
        rule=BY_POSITION,
    )


def read_idx(path: pathlib.Path) -> np.ndarray:
    """Reads one file of bytes.

    Returns:
      uint8 array of the shape that the file says.

    Raises:
      DataError: It cannot be read or is damaged.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}. Get it again.") from error
    dimensions = content[3] if len(content) >= 4 else 0
    if content[:2] != b"\0\0" or not 1 <= dimensions <= 4 or content[2] != _UINT8:
        raise DataError(
            f"{path} is not an IDX file of bytes: it begins with {content[:4].hex(' ')!r}, not "
            "with '00 00 08' and the number of dimensions. Get it again."
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path} is damaged: it ends after {len(content)} bytes. Get it again.")
    shape = np.frombuffer(content[4:start], ">u4").astype(int)
    if len(content) - start != shape.prod():
        raise DataError(
            f"{path} is damaged: it should hold {' x '.join(map(str, shape))} bytes, but has "
            f"{len(content) - start}. Get it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _pair(root: pathlib.Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    image_path = _find(root, f"{kind}-images", "idx3-ubyte")
    label_path = _find(root, f"{kind}-labels", "idx1-ubyte")
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"{image_path} holds an array {images.shape} and {label_path} one {labels.shape}; as "
            "many labels as images are needed. Get both again, from the same place."
        )
    return images, labels


def _find(root: pathlib.Path, name: str, kind: str) -> pathlib.Path:
    candidates = [f"{name}{mark}{kind}{ending}" for mark in "-." for ending in ("", ".gz")]
    for candidate in candidates:
        if (root / candidate).is_file():
            return root / candidate
    raise DataError(f"{root} has no file {name}-{kind} or {name}-{kind}.gz. {_HINT}")
