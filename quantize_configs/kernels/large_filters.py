"""What XNNPACK has no 8-bit kernel of its own for.

It has depthwise kernels for up to 25 weights (src/configs/dwconv-config.c); a larger filter it
computes as a convolution with a group for each channel, which takes ten times as long and more.
LiteRT's built-in kernels have no such limit.
"""

CPU_RUNTIME = "cpu"
"""Runtime that leaves these to the built-in kernels."""
LARGEST_DEPTHWISE = 25
"""Weights of a channel that XNNPACK has a depthwise kernel for."""


def is_left_to_builtin(operator: str, taps: int) -> bool:
    """Whether the built-in kernels compute an operator.

    Args:
      operator: See `quantize_configs.kernels.target.Sums`.
      taps: Weights of one channel of its filter.
    """
    return operator == "depthwise" and taps > LARGEST_DEPTHWISE
