"""Widths, strides and sizes of the blocks of MobileNetV3 spaces, as numbers."""

from typing import Any

from qfa_tf.network.choices import make_divisible
from qfa_tf.network.families.parts import Stage, Stem


class BlockGeometry:
    """What follows from stem and stages; blocks count from 0 in each stage."""

    stem: Stem
    stages: tuple[Stage, ...]
    width_divisor: int

    def block_stride(self, stage: int, block: int) -> int:
        """Stride of the depthwise convolution: that of the stage in its first block, else 1."""
        return self.stages[stage].stride if block == 0 else 1

    def block_input_width(self, stage: int, block: int) -> int:
        """Channels at the input of a block."""
        if block > 0:
            return self.stages[stage].width
        return self.stages[stage - 1].width if stage > 0 else self.stem.width

    def mid_width(self, stage: int, block: int, ratio: int) -> int:
        """Hidden channels of a block at expand ratio `ratio`."""
        width = self.block_input_width(stage, block)
        return width if ratio == 1 else make_divisible(width * ratio, self.width_divisor)

    def max_mid_width(self, stage: int, block: int) -> int:
        """Hidden channels of a block at its largest expand ratio."""
        return self.mid_width(stage, block, self.stages[stage].expand_ratios[-1])

    def squeeze_width(self, mid_width: int) -> int:
        """Channels between the two convolutions of squeeze-excite (Once-for-All, MobileNetV3)."""
        return make_divisible(mid_width // 4, self.width_divisor)

    def has_residual(self, stage: int, block: int) -> bool:
        """Whether input and output of a block are added: stride 1 and equal widths."""
        width = self.block_input_width(stage, block)
        return self.block_stride(stage, block) == 1 and width == self.stages[stage].width

    def feature_size(self, resolution: Any, stage: int | None = None) -> Any:
        """Height and width of a feature map under SAME padding (halves are rounded up).

        Args:
          resolution: Of the input; an int or an array of ints.
          stage: The map after this stage; -1 for the one after the stem, None for the one that
            enters the head.
        """
        last = len(self.stages) - 1 if stage is None else stage
        for stride in [self.stem.stride] + [part.stride for part in self.stages[: last + 1]]:
            resolution = -(-resolution // stride)
        return resolution

    def place(self, site: str) -> tuple[int | None, int | None, str]:
        """(stage, block, part) of a site or squeeze-excite: (1, 0, "expand") or (None, None, name).

        The official releases address their layers so.
        """
        for s, stage in enumerate(self.stages):
            for b in range(stage.max_depth):
                for part in ("expand", "depthwise", "se", "project"):
                    if site == f"s{s}.b{b}.{part}":
                        return s, b, part
        return None, None, site
