"""Settings that several operators have, and the rules they share."""

import enum

from quantize_configs.errors import InvalidInputError

Shape = tuple[int, ...]


class Activation(enum.StrEnum):
    """Activation fused into an operator."""

    NONE = "NONE"
    RELU = "RELU"
    RELU6 = "RELU6"
    RELU_N1_TO_1 = "RELU_N1_TO_1"


class Padding(enum.StrEnum):
    """Spatial padding; SAME pads with real zero, at the end where the total is odd."""

    SAME = "SAME"
    VALID = "VALID"


class RuleError(InvalidInputError):
    """An operation whose tensors break a rule of its operator; a phrase that needs the name."""


def require(condition: bool, phrase: str) -> None:
    """Raises RuleError with `phrase` ("needs ...") unless `condition` holds."""
    if not condition:
        raise RuleError(phrase)


def require_image(shape: Shape) -> None:
    """Raises RuleError unless `shape` is that of an NHWC tensor."""
    require(len(shape) == 4, f"needs an NHWC input, not {shape}")


def check_pair(owner: object, field: str, least: int = 1) -> None:
    """Makes a field of frozen attributes a pair (height, width) of integers.

    Raises:
      InvalidInputError: It is none, or one is below `least`.
    """
    value = tuple(int(size) for size in getattr(owner, field))
    if len(value) != 2 or min(value) < least:
        kind = "positive integers" if least == 1 else f"integers of at least {least}"
        raise InvalidInputError(
            f"{type(owner).__name__}: {field} is a pair of {kind}. "
            f"Received: {getattr(owner, field)!r}."
        )
    object.__setattr__(owner, field, value)


def window_positions(size: int, window: int, stride: int, padding: Padding) -> tuple[int, int, int]:
    """Output size and padding of a sliding window along one axis.

    Args:
      size: Input pixels along the axis.
      window: Window (kernel) pixels, a dilated one with its gaps.
      stride: Step in pixels.
      padding: SAME or VALID.

    Returns:
      (output size, padding before, padding after), all in pixels.

    Raises:
      RuleError: A VALID window is larger than the input.
    """
    if padding == Padding.SAME:
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + window - size, 0)
        return outputs, total // 2, total - total // 2
    require(window <= size, f"has a VALID window of {window} that does not fit into {size} pixels")
    return (size - window) // stride + 1, 0, 0


def windowed(
    shape: Shape, window: tuple[int, int], strides: tuple[int, int], padding: Padding, channels: int
) -> Shape:
    """NHWC shape after sliding a window over an NHWC tensor."""
    sizes = (
        window_positions(size, pixels, stride, padding)[0]
        for size, pixels, stride in zip(shape[1:3], window, strides, strict=True)
    )
    return shape[0], *sizes, channels
