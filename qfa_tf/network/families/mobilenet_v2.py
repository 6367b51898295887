"""MobileNetV2 (https://arxiv.org/abs/1801.04381) with elastic depths, kernels and expand ratios."""

import dataclasses
from typing import Any, ClassVar

from qfa_tf.network.building import IMAGE, NetworkBuilder
from qfa_tf.network.checks import (
    as_choices,
    as_rows,
    require_int,
    require_one_of,
)
from qfa_tf.network.choices import Constant, Multiple
from qfa_tf.network.families.settings import FamilySettings
from qfa_tf.network.network import Network
from qfa_tf.network.nodes import GlobalPooling, Sum

ACTIVATION = "relu6"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MobileNetV2(FamilySettings):
    """Stem, stages of inverted residuals with linear ends, a last 1x1 convolution, classifier.

    Sites are called `stem`, `s1.b0.expand`, `s1.b0.depthwise`, `s1.b0.project`, `last` and
    `classifier`. The blocks of the first stage have no expand convolution.

    Args, beside those of `FamilySettings`:
      stem_width: Output channels of the stem, a 3x3 convolution.
      stem_stride: 1 or 2.
      widths: Output channels of the stages.
      strides: Of the first block of each stage, 1 or 2.
      depths: How many blocks an architecture may keep, ascending, for each stage.
      last_width: Output channels of the last convolution.
      kernel_sizes: Depthwise kernel sizes to choose from, out of 3, 5, 7; the first stage has 3.
      expand_ratios: Hidden over input channels, above 1.

    Raises:
      InvalidSpaceError: A value is not allowed.
    """

    FAMILY: ClassVar[str] = "mobilenet_v2"

    stem_width: int
    stem_stride: int
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    depths: tuple[tuple[int, ...], ...]
    last_width: int
    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("stem_width", "last_width"):
            require_int(field, getattr(self, field))
        require_one_of("stem_stride", self.stem_stride, (1, 2))
        for field, allowed in (("kernel_sizes", (3, 5, 7)), ("expand_ratios", range(2, 17))):
            choices = as_choices(field, getattr(self, field), allowed)
            object.__setattr__(self, field, choices)
        as_rows(self, "widths", "strides", "depths")

    def network(self) -> Network:
        """The description of the network."""
        builder = self.builder()
        builder.row("stem")
        options: dict[str, Any] = {"activation": ACTIVATION, "kernel_size": 3}
        width = Constant(self.stem_width)
        x = builder.site("stem", IMAGE, "convolution", width, stride=self.stem_stride, **options)
        channels = self.stem_width
        for s, (width_after, stride, depths) in enumerate(
            zip(self.widths, self.strides, self.depths, strict=True)
        ):
            builder.row(f"s{s}")
            depth = builder.choice(f"s{s}.depth", depths, "depth")
            for b in range(depths[-1]):
                own_stride = 1 if b else stride
                slot = f"s{s}.b{b}"
                builder.begin_slot(slot)
                after = self._block(builder, slot, s == 0, x, channels, width_after, own_stride)
                x, channels = builder.end_slot(depth, b, x, after), width_after
        builder.row("head")
        options = {"activation": ACTIVATION, "signed_codes": True}
        x = builder.site("last", x, "pointwise", Constant(self.last_width), **options)
        x = builder.node(GlobalPooling, "pool", x)
        classes = Constant(self.num_classes)
        x = builder.site("classifier", x, "dense", classes, normalization=False, bias=True)
        return builder.build(x)

    def _block(
        self,
        builder: NetworkBuilder,
        slot: str,
        is_first: bool,
        source: str,
        before: int,
        after: int,
        stride: int,
    ) -> str:
        """Writes the nodes of a block of `before` to `after` channels; returns its output."""
        kernel_sizes, ratios = self.kernel_sizes, self.expand_ratios
        if is_first:
            kernel_sizes, ratios = (3,), (1,)
        kernel = builder.choice(f"{slot}.kernel_size", kernel_sizes, "kernel_size")
        ratio = builder.choice(f"{slot}.expand_ratio", ratios, "expand_ratio")
        x = source
        if not is_first:
            middle = Multiple(Constant(before), ratio, self.width_divisor)
            x = builder.site(
                "expand", x, "pointwise", middle, activation=ACTIVATION, signed_codes=True
            )
        x = builder.site(
            "depthwise", x, "depthwise", kernel_size=kernel, stride=stride, activation=ACTIVATION
        )
        x = builder.site("project", x, "pointwise", Constant(after))
        return builder.node(Sum, "sum", x, source) if (before, stride) == (after, 1) else x
