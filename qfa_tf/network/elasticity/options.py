"""What of a network shall be elastic."""

import dataclasses
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from qfa_tf.network.checks import as_choices, as_fixed_bits, require_int
from qfa_tf.network.choices import BITS
from qfa_tf.network.errors import InvalidSpaceError

BLOCKS = (None, True, False, "depth", "free")


@dataclasses.dataclass(frozen=True)
class ElasticityOptions:
    """How a network without choices becomes elastic.

    Args:
      weight_bits: Of all sites that are not fixed, out of 2, 3, 4, 8, ascending.
      activation_bits: The same for their inputs.
      end_bits: (weight bits, activation bits) of the sites that read the image or give a result;
        32 stands for float, None treats them as all others.
      fixed_bits: Maps a site, or a pattern such as "block_1_*", to its only (weight bits,
        activation bits). Later patterns win.
      width_ratios: Of the channels of a group, ascending, the last one 1.
      width_divisor: Widths are multiples of it, besides the full one.
      residual_widths: Whether groups on residual paths have a choice, too.
      optional_blocks: Whether residual branches with an identity as their shortcut can be left out:
        True or "depth" (a stage keeps its first ones), "free" (each by itself), or False. None is
        "depth" for networks that have such branches, and False for others.
      kernel_sizes: Whether depthwise kernels of 5 and 7 have smaller ones besides.
      resolutions: Sizes of the image in pixels, ascending, the last one that of the network; None
        for that alone.
      elastic: Values of single choices, by their names; a table of `SearchSpace.describe`, edited,
        will do.

    Raises:
      InvalidSpaceError: A value is not allowed.
    """

    weight_bits: tuple[int, ...] = BITS
    activation_bits: tuple[int, ...] = (4, 8)
    end_bits: tuple[int, int] | None = (8, 8)
    fixed_bits: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    width_ratios: tuple[float, ...] = (0.5, 0.75, 1.0)
    width_divisor: int = 8
    residual_widths: bool = False
    optional_blocks: bool | str | None = None
    kernel_sizes: bool = True
    resolutions: tuple[int, ...] | None = None
    elastic: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for field in ("weight_bits", "activation_bits"):
            object.__setattr__(self, field, as_choices(field, getattr(self, field), BITS))
        object.__setattr__(self, "fixed_bits", as_fixed_bits(self.fixed_bits))
        if self.end_bits is not None:
            pair = as_fixed_bits({"end": self.end_bits})["end"]
            object.__setattr__(self, "end_bits", pair)
        ratios = tuple(self.width_ratios)
        ascending = list(ratios) == sorted(set(ratios))
        if not ratios or not ascending or ratios[0] <= 0 or ratios[-1] != 1:
            raise InvalidSpaceError(
                "width_ratios must be ascending numbers above 0, the last one 1. "
                f"Received: {self.width_ratios}"
            )
        require_int("width_divisor", self.width_divisor)
        if not any(self.optional_blocks is one for one in BLOCKS[:3]) and (
            self.optional_blocks not in BLOCKS[3:]
        ):
            raise InvalidSpaceError(
                f"optional_blocks must be one of {list(BLOCKS)}. Received: {self.optional_blocks!r}"
            )
        if self.resolutions is not None:
            object.__setattr__(self, "resolutions", as_choices("resolutions", self.resolutions))

    def bits_of(self, site: str) -> tuple[int, int] | None:
        """The fixed bits of a site by name or pattern; None where there are none."""
        found = None
        for pattern, pair in self.fixed_bits.items():
            if fnmatchcase(site, pattern):
                found = pair
        return found
