"""Checks of what callers give: a sentence that names the argument, not an error from within."""

import math
import numbers
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

from quantize_configs.errors import InvalidInputError, InvalidTypeError

_Part = TypeVar("_Part")


def whole_number(name: str, value: Any, minimum: int | None = 0) -> int:
    """Returns `value` as an int.

    Raises:
      InvalidInputError: No whole number (a bool is none), or one below `minimum`.
    """
    ok = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not ok or (minimum is not None and value < minimum):
        least = "" if minimum is None else f" of at least {minimum}"
        raise InvalidInputError(f"{name} must be a whole number{least}. Received: {value!r:.200}")
    return int(value)


def number(name: str, value: Any, minimum: float) -> float:
    """Returns `value` as a float.

    Raises:
      InvalidInputError: No finite number (a bool is none), or one below `minimum`.
    """
    ok = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not ok or not math.isfinite(value) or value < minimum:
        raise InvalidInputError(
            f"{name} must be a number of at least {minimum}. Received: {value!r:.200}"
        )
    return float(value)


def iterable(name: str, value: Any, example: str) -> Iterable:
    """Returns `value`, which must hold batches.

    Raises:
      InvalidTypeError: It holds nothing.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | bytes):
        raise InvalidTypeError(
            f"{name} must hold batches, as {example} gives them. Received: {value!r:.200}"
        )
    return value


def instance(name: str, value: Any, part: type[_Part], example: str) -> _Part:
    """Returns `value`.

    Args:
      name: Of the argument.
      value: Of the argument.
      part: The class that it must have.
      example: Where one comes from, such as "space.sample(0)".

    Raises:
      InvalidTypeError: It is something else.
    """
    if not isinstance(value, part):
        raise InvalidTypeError(
            f"{name} must be of the class {part.__name__}, as {example} gives it. "
            f"Received: {value!r:.200}"
        )
    return value


def random_generator(rng: Any) -> np.random.Generator:
    """Returns `rng`, or the generator that it seeds.

    Args:
      rng: A Generator of NumPy or what seeds one: whole numbers from 0, None for a new stream.

    Raises:
      InvalidInputError: It is neither.
    """
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise InvalidInputError(
            "rng must be a numpy.random.Generator, or a seed: a whole number of at least 0. "
            f"Received: {rng!r:.200}"
        ) from None
