"""Checks of what a model is fed with."""

from collections.abc import Sequence

import numpy as np

from quantize_configs.errors import InvalidInputError

Expected = tuple[str, np.dtype, tuple[int, ...]]
"""Name, type and shape of an input; the first size is that of the batch, whatever it is."""


def checked_inputs(
    owner: str, expected: Sequence[Expected], inputs: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The inputs as arrays.

    Args:
      owner: Whose inputs they are, for people, such as "model".
      expected: One entry for each input.
      inputs: One array for each of them, all with the same number of rows.

    Raises:
      InvalidInputError: They are too many or too few, or one has another type or shape.
    """
    if len(inputs) != len(expected):
        raise InvalidInputError(
            f"The {owner} has {len(expected)} input(s): {[name for name, _, _ in expected]}. "
            f"Received: {len(inputs)} arrays."
        )
    arrays = [np.asarray(array) for array in inputs]
    for (name, dtype, shape), array in zip(expected, arrays, strict=True):
        if array.dtype != dtype or array.shape[1:] != shape[1:] or array.ndim != len(shape):
            raise InvalidInputError(
                f"Input {name!r} needs {dtype} values of shape {('N', *shape[1:])}. "
                f"Received: {array.dtype} of shape {array.shape}."
            )
        if array.shape[0] < 1 or array.shape[0] != arrays[0].shape[0]:
            raise InvalidInputError(
                "All inputs need one batch size of at least 1. Received batches: "
                f"{[candidate.shape[0] for candidate in arrays]}."
            )
    return arrays


def require_finite(values: np.ndarray) -> None:
    """Refuses floats that are no numbers, with which nothing can be compared.

    Raises:
      InvalidInputError: There is one.
    """
    if values.dtype.kind != "f":
        return
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise InvalidInputError(f"{wrong} of {values.size} values of the images are not finite.")
