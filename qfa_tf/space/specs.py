"""The parts of a search space as plain data: stem, stages and head, checked when they are made."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from qfa_tf.space.errors import InvalidSpaceError

ACTIVATIONS = ("relu", "relu6", "hard_swish")
KERNEL_SIZES = (3, 5, 7)
STRIDES = (1, 2)
BITS = (2, 3, 4, 8)
"""Bit-widths that a site may offer."""
FLOAT_BITS = 32
"""Stands for float: valid in training and evaluation, never sampled or searched."""


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
        field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING
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


@dataclasses.dataclass(frozen=True)
class Stem:
    """First convolution: `kernel_size` square, batch norm, activation.

    Args:
      width: Output channels.
      kernel_size: 3, 5 or 7.
      stride: 1 or 2.
      activation: "relu", "relu6" or "hard_swish".

    Raises:
      InvalidSpaceError: A value is not allowed.
    """

    width: int
    kernel_size: int
    stride: int
    activation: str

    def __post_init__(self):
        require_int("stem.width", self.width)
        require_one_of("stem.kernel_size", self.kernel_size, KERNEL_SIZES)
        require_one_of("stem.stride", self.stride, STRIDES)
        require_one_of("stem.activation", self.activation, ACTIVATIONS)


@dataclasses.dataclass(frozen=True)
class Stage:
    """Inverted-residual blocks of one width, of which an architecture keeps the first few.

    Args:
      width: Output channels of every block.
      stride: Of the first block, 1 or 2; the others have 1.
      depths: How many blocks an architecture may keep, ascending.
      kernel_sizes: Depthwise kernel sizes to choose from, ascending, out of 3, 5, 7.
      expand_ratios: Hidden over input channels, ascending. `(1,)` makes blocks without an expand
        convolution (the first block of MobileNetV3); 1 cannot be mixed with other ratios.
      activation: "relu", "relu6" or "hard_swish", after expand and depthwise.
      squeeze_excite: Whether the channels are weighted after the depthwise convolution.

    Raises:
      InvalidSpaceError: A value is not allowed.
    """

    width: int
    stride: int
    depths: tuple[int, ...]
    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[int, ...]
    activation: str
    squeeze_excite: bool = False

    def __post_init__(self):
        require_int("stage.width", self.width)
        require_one_of("stage.stride", self.stride, STRIDES)
        require_one_of("stage.activation", self.activation, ACTIVATIONS)
        if not isinstance(self.squeeze_excite, bool):
            raise InvalidSpaceError(
                f"stage.squeeze_excite must be True or False. Received: {self.squeeze_excite!r}"
            )
        for name, allowed in (
            ("depths", None),
            ("kernel_sizes", KERNEL_SIZES),
            ("expand_ratios", None),
        ):
            choices = as_choices(f"stage.{name}", getattr(self, name), allowed)
            object.__setattr__(self, name, choices)
        if self.expand_ratios[0] == 1 and len(self.expand_ratios) > 1:
            raise InvalidSpaceError(
                "stage.expand_ratios may contain 1 only alone, as (1,): such blocks have no expand "
                f"convolution. Received: {self.expand_ratios}"
            )

    @property
    def max_depth(self) -> int:
        """Number of block slots."""
        return self.depths[-1]

    @property
    def has_expand(self) -> bool:
        """Whether the blocks start with an expand convolution."""
        return self.expand_ratios != (1,)


@dataclasses.dataclass(frozen=True)
class Head:
    """What follows the last stage, up to the classifier.

    1x1 convolution `head.expand` with batch norm and activation, global average pooling, 1x1
    convolution `head.mix` without batch norm and bias but with activation, classifier.

    Args:
      expand_width: Output channels of `head.expand`.
      mix_width: Output channels of `head.mix`; None leaves `head.mix` out.
      activation: "relu", "relu6" or "hard_swish".

    Raises:
      InvalidSpaceError: A value is not allowed.
    """

    expand_width: int
    mix_width: int | None
    activation: str

    def __post_init__(self):
        require_int("head.expand_width", self.expand_width)
        if self.mix_width is not None:
            require_int("head.mix_width", self.mix_width)
        require_one_of("head.activation", self.activation, ACTIVATIONS)


def require_part(where: str, value: Any, part: type) -> None:
    """Raises InvalidSpaceError unless `value` is a `part`."""
    if not isinstance(value, part):
        raise InvalidSpaceError(f"{where} must be a {part.__name__}. Received: {value!r}")


def as_stages(stages: Any) -> tuple[Stage, ...]:
    """Returns `stages` as a tuple of at least one Stage, or raises InvalidSpaceError."""
    if not isinstance(stages, Sequence) or not stages:
        raise InvalidSpaceError(f"stages must be one Stage or more. Received: {stages!r}")
    for s, stage in enumerate(stages):
        require_part(f"stages[{s}]", stage, Stage)
    return tuple(stages)


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
