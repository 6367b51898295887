"""ResNet (https://arxiv.org/abs/1512.03385) with elastic depths and inner widths."""

import dataclasses
from typing import ClassVar

from qfa_tf.network.building import IMAGE, NetworkBuilder
from qfa_tf.network.checks import (
    as_choices,
    as_rows,
    require_one_of,
)
from qfa_tf.network.choices import Chosen, Constant, make_divisible
from qfa_tf.network.families.settings import FamilySettings
from qfa_tf.network.network import Network
from qfa_tf.network.nodes import Function, GlobalPooling, Pooling, Sum

ACTIVATION = "relu"
EXPANSION = {"basic": 1, "bottleneck": 4}
"""Output channels of a block over those of its stage."""
STEMS = ("small", "large")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet(FamilySettings):
    """Stem, stages of residual blocks, classifier.

    A basic block has two 3x3 convolutions, a bottleneck 1x1, 3x3 and 1x1 (the 3x3 one carries the
    stride). Where the shape changes, the shortcut is a 1x1 convolution with the stride. Sites are
    called `stem`, `s0.b0.conv1`, `s0.b0.conv2`, `s0.b0.conv3`, `s0.b0.shortcut` and `classifier`.

    Args, beside those of `FamilySettings`:
      block: "basic" or "bottleneck".
      stem: "small" (3x3, stride 1, as for CIFAR), or "large" (7x7, stride 2, and a max pooling of
        stride 2, as for ImageNet).
      widths: Channels of the stages, before the expansion of bottlenecks.
      strides: Of the first block of each stage, 1 or 2.
      depths: How many blocks an architecture may keep, ascending, for each stage.
      width_percents: Inner channels of a block, in percent of those of its stage, ascending.

    Raises:
      InvalidSpaceError: A value is not allowed.
    """

    FAMILY: ClassVar[str] = "resnet"

    block: str
    stem: str
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    depths: tuple[tuple[int, ...], ...]
    width_percents: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("block", self.block, tuple(EXPANSION))
        require_one_of("stem", self.stem, STEMS)
        percents = as_choices("width_percents", self.width_percents, range(1, 101))
        object.__setattr__(self, "width_percents", percents)
        as_rows(self, "widths", "strides", "depths")

    def network(self) -> Network:
        """The description of the network."""
        builder = self.builder()
        builder.row("stem")
        channels = self.widths[0]
        kernel_size, stride = (7, 2) if self.stem == "large" else (3, 1)
        options = {"kernel_size": kernel_size, "stride": stride, "activation": ACTIVATION}
        x = builder.site("stem", IMAGE, "convolution", Constant(channels), **options)
        if self.stem == "large":
            x = builder.node(Pooling, "stem_pool", x, reduction="max", window=3, stride=2)
        for s, (width, stride, depths) in enumerate(
            zip(self.widths, self.strides, self.depths, strict=True)
        ):
            builder.row(f"s{s}")
            depth = builder.choice(f"s{s}.depth", depths, "depth")
            for b in range(depths[-1]):
                slot, after = f"s{s}.b{b}", width * EXPANSION[self.block]
                builder.begin_slot(slot)
                own_stride = 1 if b else stride
                inner = self._inner_width(builder, slot, width)
                main = self._main(builder, x, inner, Constant(after), own_stride)
                shortcut = x
                if (channels, own_stride) != (after, 1):
                    kind = "convolution" if own_stride > 1 else "pointwise"
                    options = {"stride": own_stride}
                    shortcut = builder.site("shortcut", x, kind, Constant(after), **options)
                total = builder.node(Sum, "sum", main, shortcut)
                output = builder.node(Function, "relu", total, activation=ACTIVATION)
                x, channels = builder.end_slot(depth, b, x, output), after
        builder.row("head")
        x = builder.node(GlobalPooling, "pool", x)
        classes = Constant(self.num_classes)
        x = builder.site("classifier", x, "dense", classes, normalization=False, bias=True)
        return builder.build(x)

    def _inner_width(self, builder: NetworkBuilder, slot: str, width: int) -> Chosen:
        """The choice of the channels inside a block."""
        values = {make_divisible(width * p / 100, self.width_divisor) for p in self.width_percents}
        return Chosen(builder.choice(f"{slot}.width", sorted(values), "width"))

    def _main(
        self, builder: NetworkBuilder, x: str, inner: Chosen, after: Constant, stride: int
    ) -> str:
        """Writes the convolutions of a block; returns the last one."""
        square = {"kernel_size": 3, "stride": stride, "activation": ACTIVATION}
        if self.block == "basic":
            x = builder.site("conv1", x, "convolution", inner, **square)
            return builder.site("conv2", x, "convolution", after, kernel_size=3)
        x = builder.site("conv1", x, "pointwise", inner, activation=ACTIVATION)
        x = builder.site("conv2", x, "convolution", inner, **square)
        return builder.site("conv3", x, "pointwise", after)
