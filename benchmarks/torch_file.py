"""Reading the old format of torch.save with NumPy: pickles, followed by the raw storages.

Only what a state dict is made of is unpickled: an OrderedDict of tensors.
"""

import collections
import os
import pickle
from typing import Any

import numpy as np

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name.

    Raises:
      ValueError: The file is of another format, or holds something else than tensors.
    """
    with open(path, "rb") as file:
        if _Unpickler(file).load() != MAGIC_NUMBER:
            raise ValueError(f"{path} is no file of the old torch.save.")
        _Unpickler(file).load()  # protocol version
        _Unpickler(file).load()  # sizes of the types of the machine
        tensors = _Unpickler(file).load()
        keys = _Unpickler(file).load()
        types = {storage.key: storage.dtype for storage, *_ in tensors.values()}
        storages = {}
        for key in keys:
            (count,) = np.frombuffer(file.read(8), "<i8")
            storages[key] = np.frombuffer(file.read(int(count) * types[key].itemsize), types[key])
    return {
        name: _strided(storages[storage.key], *place) for name, (storage, *place) in tensors.items()
    }


class _Storage(collections.namedtuple("_Storage", "dtype key")):
    """A block of numbers that follows the pickles."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise ValueError(f"The file holds {module}.{name}, which is no part of a state dict.")

    def persistent_load(self, pid: tuple) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage":
            raise ValueError(f"The file refers to {kind!r}, which is no storage.")
        return _Storage(dtype, key)


def _strided(storage: np.ndarray, offset: int, shape, strides) -> np.ndarray:
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()
