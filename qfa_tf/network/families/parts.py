"""Settings of the MobileNet families: stem, stages and head, checked when they are made."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from qfa_tf.network.checks import as_choices, require_int, require_one_of, require_part
from qfa_tf.network.errors import InvalidSpaceError

ACTIVATIONS = ("relu", "relu6", "hard_swish")
KERNEL_SIZES = (3, 5, 7)
STRIDES = (1, 2)


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

    def __post_init__(self) -> None:
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

    def __post_init__(self) -> None:
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

    def __post_init__(self) -> None:
        require_int("head.expand_width", self.expand_width)
        if self.mix_width is not None:
            require_int("head.mix_width", self.mix_width)
        require_one_of("head.activation", self.activation, ACTIVATIONS)


def as_stages(stages: Any) -> tuple[Stage, ...]:
    """Returns `stages` as a tuple of at least one Stage, or raises InvalidSpaceError."""
    if not isinstance(stages, Sequence) or not stages:
        raise InvalidSpaceError(f"stages must be one Stage or more. Received: {stages!r}")
    for s, stage in enumerate(stages):
        require_part(f"stages[{s}]", stage, Stage)
    return tuple(stages)
