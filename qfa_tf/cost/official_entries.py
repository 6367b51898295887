"""The accounting of the official QFA release, in closed form.

The release of QFA (https://arxiv.org/abs/2105.08952) reads costs from a table made for the
MobileNetV3 space of width 1.2. The formulas here give the same numbers. They differ from the
network that is built: widths are base * 1.2 rounded to integers, not to multiples of 8; a
convolution costs two more than its MACs per output; the stem has 4 input channels and the
classifier 1200 outputs; sizes are rounded down after a strided depthwise convolution;
squeeze-excite is charged at the bits of the depthwise convolution. On the released architectures
the sum is 0.81 to 1.00 of the exact one.
"""

from typing import NamedTuple

from qfa_tf.network import make_divisible

WIDTH_MULT = 1.2
RESOLUTIONS = tuple(range(128, 225, 4))
"""What the release has entries for."""

_WIDTHS = (19, 29, 48, 96, 134, 192)
_STRIDES = (1, 2, 2, 2, 1, 2)
_SQUEEZE_EXCITE = (False, False, True, False, True, True)
_STEM_INPUTS, _STEM_WIDTH = 4, 19
_EXPAND_WIDTH, _MIX_WIDTH, _CLASSES = 1152, 1536, 1200


class BlockEntry(NamedTuple):
    """Cost of a block at 8 bits.

    Attributes:
      total: The sum that the release takes for the whole block.
      expand: Of the expand convolution; 0 in the first stage.
      depthwise: Of the depthwise convolution with squeeze-excite.
      project: Of the project convolution.
    """

    total: int
    expand: int
    depthwise: int
    project: int

    @property
    def rest(self) -> int:
        """What is in the total alone; always charged in full.

        The release takes the size before rounding down for the project convolution in the total,
        and the size after it in the part: they differ where a stride meets an odd size.
        """
        return self.total - self.expand - self.depthwise - self.project


def outer_entry(resolution: int, part: str) -> int:
    """Returns the cost at 8 bits of a site outside the stages.

    Args:
      resolution: Height and width of the input in pixels.
      part: "stem", "head.expand", "head.mix" or "classifier".
    """
    return {
        "stem": _stem_size(resolution) ** 2 * _STEM_WIDTH * (_STEM_INPUTS * 9 + 2),
        "head.expand": (resolution // 32) ** 2 * _EXPAND_WIDTH * (_WIDTHS[-1] + 2),
        "head.mix": _MIX_WIDTH * (_EXPAND_WIDTH + 2),
        "classifier": _MIX_WIDTH * _CLASSES,
    }[part]


def outer_size(resolution: int, part: str, size: int) -> int:
    """Returns the output size of such a site; `size` is the exact one, from which one differs."""
    return {"head.expand": resolution // 32}.get(part, size)


def block_entry(
    resolution: int, stage: int, block: int, kernel_size: int, expand_ratio: int
) -> BlockEntry:
    """Returns the cost of one block.

    Args:
      resolution: Height and width of the input of the network in pixels.
      stage: 0 to 5; stage 0 has no expand convolution.
      block: Index in its stage.
      kernel_size: Of the depthwise convolution.
      expand_ratio: Hidden over input channels.
    """
    inputs, mid = _block_widths(stage, block, expand_ratio)
    before, middle, after = block_sizes(resolution, stage, block)
    width = _WIDTHS[stage]
    expand = before**2 * mid * (inputs + 2) if stage else 0
    depthwise = middle**2 * mid * (kernel_size**2 + 2)
    depthwise += squeeze_excite_entry(stage, block, expand_ratio)
    return BlockEntry(
        total=expand + depthwise + middle**2 * width * (mid + 2),
        expand=expand,
        depthwise=depthwise,
        project=after**2 * width * (mid + 2),
    )


def _block_widths(stage: int, block: int, expand_ratio: int) -> tuple[int, int]:
    """Returns the channels at the input and the hidden channels of a block."""
    inputs = _WIDTHS[stage if block else max(stage - 1, 0)]
    return inputs, round(inputs * expand_ratio)


def squeeze_excite_entry(stage: int, block: int, expand_ratio: int) -> int:
    """Returns the part of `BlockEntry.depthwise` that is squeeze-excite; 0 in most stages."""
    if not _SQUEEZE_EXCITE[stage]:
        return 0
    _, mid = _block_widths(stage, block, expand_ratio)
    squeeze = make_divisible(mid // 4, 8)
    return 2 * mid * squeeze + squeeze + mid


def _stem_size(resolution: int) -> int:
    return (resolution + 1) // 2


def block_sizes(resolution: int, stage: int, block: int) -> tuple[int, int, int]:
    """Returns the sizes at the input, after the depthwise and after the project convolution."""
    size = _stem_size(resolution)
    for stride in _STRIDES[:stage]:
        size //= stride
    if _STRIDES[stage] == 1:
        return size, size, size
    return (size, (size + 1) // 2, size // 2) if block == 0 else (size // 2,) * 3
