"""What a genome chooses, and widths as functions of it."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

ROLES = (
    "kernel_size",
    "expand_ratio",
    "width",
    "depth",
    "resolution",
    "weight_bits",
    "activation_bits",
)
"""What choices are about, in the order of a genome; both kinds of bits go site by site."""
BITS_ROLES = ("weight_bits", "activation_bits")
BITS = (2, 3, 4, 8)
"""Bit-widths that a site may offer."""
FLOAT_BITS = 32
"""Stands for float: valid in training and evaluation, never sampled or searched."""

Values = Mapping[str, int]
"""What was chosen, by the name of the choice."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A decision between several values, or one that is taken already.

    Attributes:
      name: By which a genome's values are looked up.
      values: To choose from, ascending; a single one is fixed.
      role: One of ROLES.
      slot: Slot to which it belongs: void where a genome leaves that out. None otherwise.
    """

    name: str
    values: tuple[int, ...]
    role: str
    slot: str | None = None

    @property
    def is_bits(self) -> bool:
        """Whether it is about bits, which may be float besides where there is a choice."""
        return self.role in BITS_ROLES


class Width(Protocol):
    """A number of channels that may depend on choices."""

    @property
    def choices(self) -> tuple[str, ...]:
        """Names of the choices that it depends on."""

    def value(self, chosen: Values) -> int:
        """The number of channels."""


@dataclasses.dataclass(frozen=True)
class Constant:
    """A fixed number of channels."""

    channels: int

    @property
    def choices(self) -> tuple[str, ...]:
        """None."""
        return ()

    def value(self, chosen: Values) -> int:
        """The number, whatever is chosen."""
        del chosen
        return self.channels


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A number of channels that is chosen as such."""

    choice: str

    @property
    def choices(self) -> tuple[str, ...]:
        """The one choice."""
        return (self.choice,)

    def value(self, chosen: Values) -> int:
        """What was chosen."""
        return chosen[self.choice]


@dataclasses.dataclass(frozen=True)
class Multiple:
    """Another width times a chosen ratio, made divisible; a ratio of 1 keeps it as it is."""

    of: Width
    ratio: str
    divisor: int

    @property
    def choices(self) -> tuple[str, ...]:
        """Those of the other width, and the ratio."""
        return distinct(*self.of.choices, self.ratio)

    def value(self, chosen: Values) -> int:
        """The product, see `make_divisible`."""
        width, ratio = self.of.value(chosen), chosen[self.ratio]
        return width if ratio == 1 else make_divisible(width * ratio, self.divisor)


@dataclasses.dataclass(frozen=True)
class Fraction:
    """One part in `parts` of another width, rounded down and then made divisible."""

    of: Width
    parts: int
    divisor: int

    @property
    def choices(self) -> tuple[str, ...]:
        """Those of the other width."""
        return self.of.choices

    def value(self, chosen: Values) -> int:
        """The part, see `make_divisible`."""
        return make_divisible(self.of.value(chosen) // self.parts, self.divisor)


@dataclasses.dataclass(frozen=True)
class Total:
    """The sum of several widths, as after a concatenation."""

    parts: tuple[Width, ...]

    @property
    def choices(self) -> tuple[str, ...]:
        """Those of all parts."""
        return distinct(*(name for part in self.parts for name in part.choices))

    def value(self, chosen: Values) -> int:
        """The sum."""
        return sum(part.value(chosen) for part in self.parts)


WIDTHS: tuple[type, ...] = (Constant, Chosen, Multiple, Fraction, Total)


def parts_of(width: Width) -> tuple[Width, ...]:
    """The widths of the tensors that were concatenated; the width itself elsewhere."""
    if not isinstance(width, Total):
        return (width,)
    return tuple(part for one in width.parts for part in parts_of(one))


def distinct(*names: str) -> tuple[str, ...]:
    """`names` without repetitions, in order."""
    return tuple(dict.fromkeys(names))


def make_divisible(value: float, divisor: int) -> int:
    """Rounds `value` to a multiple of `divisor`, at least one, and by at most a tenth downwards.

    The rule of the MobileNet family, https://arxiv.org/abs/1801.04381 (reference code).
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
