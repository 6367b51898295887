"""MobileNetV3 as Once-for-All made it elastic (https://arxiv.org/abs/1908.09791)."""

import dataclasses
from typing import Any, ClassVar

from qfa_tf.network.building import IMAGE, NetworkBuilder
from qfa_tf.network.checks import from_fields, require_part
from qfa_tf.network.choices import Constant, Fraction, Multiple
from qfa_tf.network.families.geometry import BlockGeometry
from qfa_tf.network.families.parts import Head, Stage, Stem, as_stages
from qfa_tf.network.families.settings import FamilySettings
from qfa_tf.network.network import Network
from qfa_tf.network.nodes import GlobalPooling, SqueezeExcite, Sum


@dataclasses.dataclass(frozen=True, kw_only=True)
class MobileNetV3(BlockGeometry, FamilySettings):
    """Stem, stages of elastic inverted-residual blocks and head.

    Sites are called `stem`, `s1.b0.expand`, `s1.b0.depthwise`, `s1.b0.project`, `head.expand`,
    `head.mix` and `classifier`.

    Args, beside those of `FamilySettings`:
      stem: First convolution.
      stages: At least one.
      head: What follows the last stage.

    Raises:
      InvalidSpaceError: A value is not allowed.
    """

    FAMILY: ClassVar[str] = "mobilenet_v3"

    stem: Stem
    stages: tuple[Stage, ...]
    head: Head

    def __post_init__(self) -> None:
        super().__post_init__()
        require_part("stem", self.stem, Stem)
        require_part("head", self.head, Head)
        object.__setattr__(self, "stages", as_stages(self.stages))

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "MobileNetV3":
        """Reads what `dataclasses.asdict` gave, as JSON holds it."""
        fields = dict(fields)
        for key, part in (("stem", Stem), ("head", Head)):
            if key in fields:
                fields[key] = from_fields(part, fields[key], key)
        if isinstance(fields.get("stages"), list):
            fields["stages"] = tuple(
                from_fields(Stage, stage, f"stages[{s}]")
                for s, stage in enumerate(fields["stages"])
            )
        return super().from_fields(fields)

    def network(self) -> Network:
        """The description of the network."""
        stem, head = self.stem, self.head
        builder = self.builder()
        builder.row("stem")
        x = builder.site(
            "stem",
            IMAGE,
            "convolution",
            Constant(stem.width),
            kernel_size=stem.kernel_size,
            stride=stem.stride,
            activation=stem.activation,
        )
        for s, stage in enumerate(self.stages):
            builder.row(f"s{s}")
            depth = builder.choice(f"s{s}.depth", stage.depths, "depth")
            for b in range(stage.max_depth):
                x = self._block(builder, s, b, depth, x)
        builder.row("head")
        options = {"activation": head.activation, "label": "expand", "signed_codes": True}
        x = builder.site("head.expand", x, "pointwise", Constant(head.expand_width), **options)
        x = builder.node(GlobalPooling, "head.pool", x, label="pool")
        if head.mix_width is not None:
            options = {"activation": head.activation, "label": "mix", "normalization": False}
            x = builder.site("head.mix", x, "pointwise", Constant(head.mix_width), **options)
        classes = Constant(self.num_classes)
        x = builder.site("classifier", x, "dense", classes, normalization=False, bias=True)
        return builder.build(x)

    def _block(self, builder: NetworkBuilder, s: int, b: int, depth: str, source: str) -> str:
        """Writes one block slot."""
        stage, slot = self.stages[s], f"s{s}.b{b}"
        builder.begin_slot(slot)
        kernel = builder.choice(f"{slot}.kernel_size", stage.kernel_sizes, "kernel_size")
        ratio = builder.choice(f"{slot}.expand_ratio", stage.expand_ratios, "expand_ratio")
        middle = Multiple(Constant(self.block_input_width(s, b)), ratio, self.width_divisor)
        x, activation = source, stage.activation
        if stage.has_expand:
            options = {"activation": activation, "signed_codes": True}
            x = builder.site("expand", x, "pointwise", middle, **options)
        x = builder.site(
            "depthwise",
            x,
            "depthwise",
            kernel_size=kernel,
            stride=self.block_stride(s, b),
            activation=activation,
            signed_codes=(s, b) == (0, 0),
        )
        if stage.squeeze_excite:
            squeezed = Fraction(middle, 4, self.width_divisor)
            x = builder.node(SqueezeExcite, "se", x, width=squeezed)
        x = builder.site("project", x, "pointwise", Constant(stage.width))
        if self.has_residual(s, b):
            x = builder.node(Sum, "sum", x, source)
        return builder.end_slot(depth, b, source, x)
