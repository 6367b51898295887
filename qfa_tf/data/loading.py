"""Data sets by name."""

from collections.abc import Callable, Mapping
from typing import Any

from qfa_tf.data.digits import load_digits
from qfa_tf.data.errors import DataError
from qfa_tf.data.splits import DataSplits

DATASETS: dict[str, Callable[..., DataSplits]] = {"digits": load_digits}
"""Complete names. A loader of your own can be added: loader(resolution, **options)."""

FORMATS: Mapping[str, Callable[..., DataSplits]] = {}
"""What stands in front of the colon, for `FORMAT:WHERE`: loader(where, resolution, **options)."""


def load(name: str, resolution: int, **options: Any) -> DataSplits:
    """Loads a data set in its four splits."""
    if name in DATASETS:
        return DATASETS[name](resolution, **options)
    raise DataError(f"The data sets are {sorted(DATASETS)}. Received: {name!r}.")
