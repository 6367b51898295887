"""Checks of the settings of families."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from qfa_tf.network.choices import BITS, FLOAT_BITS
from qfa_tf.network.errors import InvalidSpaceError


def require_int(where: str, value: Any, minimum: int = 1) -> None:
    """Raises InvalidSpaceError unless `value` is an int of at least `minimum`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise InvalidSpaceError(f"{where} must be an int >= {minimum}. Received: {value!r}")


def require_one_of(where: str, value: Any, allowed: Sequence) -> None:
    """Raises InvalidSpaceError unless `value` is among `allowed`."""
    if isinstance(value, bool) or value not in allowed:
        raise InvalidSpaceError(f"{where} must be one of {list(allowed)}. Received: {value!r}")


def as_choices(where: str, values: Any, allowed: Sequence[int] | None = None) -> tuple[int, ...]:
    """Returns `values` as a tuple of distinct ascending ints.

    Raises:
      InvalidSpaceError: No value, an unsorted or repeated one, one below 1 or not in `allowed`.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Sequence) or not len(values):
        raise InvalidSpaceError(
            f"{where} must be a non-empty sequence of ints, for example (3, 5). "
            f"Received: {values!r}"
        )
    for value in values:
        require_int(f"Each value of {where}", value)
        if allowed is not None:
            require_one_of(f"Each value of {where}", value, allowed)
    if list(values) != sorted(set(values)):
        raise InvalidSpaceError(
            f"{where} must be distinct and ascending, {tuple(sorted(set(values)))} here. "
            f"Received: {tuple(values)}"
        )
    return tuple(values)


def from_fields(cls: type, fields: Any, where: str) -> Any:
    """Builds the dataclass `cls` from the dict `fields` of decoded JSON.

    Raises:
      InvalidSpaceError: `fields` is no dict, or has unknown keys, or misses one without a default.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    required = {
        field.name
        for field in dataclasses.fields(cls)
        if field.default is field.default_factory is dataclasses.MISSING
    }
    if not isinstance(fields, dict):
        raise InvalidSpaceError(f"{where} must be an object with {names}. Received: {fields!r}")
    missing, unknown = required - set(fields), set(fields) - set(names)
    if missing or unknown:
        raise InvalidSpaceError(
            f"{where} must have the keys {names}. "
            f"Missing: {sorted(missing)}; unknown: {sorted(unknown)}"
        )
    return cls(**fields)


def require_part(where: str, value: Any, part: type) -> None:
    """Raises InvalidSpaceError unless `value` is a `part`."""
    if not isinstance(value, part):
        raise InvalidSpaceError(f"{where} must be a {part.__name__}. Received: {value!r}")


def as_fixed_bits(fixed_bits: Any) -> dict[str, tuple[int, int]]:
    """Returns `fixed_bits` as a dict of pairs.

    Raises:
      InvalidSpaceError: No mapping to pairs of allowed bit-widths (32, float, is allowed here).
    """
    if not isinstance(fixed_bits, Mapping):
        raise InvalidSpaceError(
            "fixed_bits must map sites to (weight bits, activation bits), for example "
            f"{{'stem': (8, 8)}}. Received: {fixed_bits!r}"
        )
    for site, pair in fixed_bits.items():
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise InvalidSpaceError(
                f"fixed_bits[{site!r}] must be (weight bits, activation bits). Received: {pair!r}"
            )
        for value in pair:
            require_one_of(f"fixed_bits[{site!r}]", value, (*BITS, FLOAT_BITS))
    return {site: tuple(pair) for site, pair in fixed_bits.items()}


def check_common_fields(settings: Any) -> None:
    """Checks and normalizes the fields that the settings of every family have.

    These are `name`, `resolutions`, `weight_bits`, `activation_bits`, `fixed_bits`,
    `input_channels` and `num_classes` of a frozen dataclass.

    Raises:
      InvalidSpaceError: A value is not allowed.
    """
    if not isinstance(settings.name, str) or not settings.name:
        raise InvalidSpaceError(f"name must be a non-empty string. Received: {settings.name!r}")
    for field in ("input_channels", "num_classes"):
        require_int(field, getattr(settings, field))
    for field, allowed in (("resolutions", None), ("weight_bits", BITS), ("activation_bits", BITS)):
        choices = as_choices(field, getattr(settings, field), allowed)
        object.__setattr__(settings, field, choices)
    object.__setattr__(settings, "fixed_bits", as_fixed_bits(settings.fixed_bits))


def as_rows(settings: Any, widths: str, strides: str, depths: str) -> None:
    """Checks and normalizes three fields of a frozen dataclass that have a value for each stage.

    Args:
      settings: The dataclass.
      widths: Field of the output channels.
      strides: Field of the strides, 1 or 2.
      depths: Field of how many blocks an architecture may keep.

    Raises:
      InvalidSpaceError: A value is not allowed, or the lengths differ.
    """
    lengths = {}
    for field in (widths, strides, depths):
        values = getattr(settings, field)
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise InvalidSpaceError(
                f"{field} must have a value for each stage, at least one. Received: {values!r}"
            )
        lengths[field] = len(values)
        for value in values:
            if field == widths:
                require_int(f"Each value of {field}", value)
            elif field == strides:
                require_one_of(f"Each value of {field}", value, (1, 2))
        if field == depths:
            values = [as_choices(f"Each value of {field}", value) for value in values]
        object.__setattr__(settings, field, tuple(values))
    if len(set(lengths.values())) > 1:
        raise InvalidSpaceError(
            f"{widths}, {strides} and {depths} must have a value for each stage. Received so many: "
            f"{lengths}"
        )
