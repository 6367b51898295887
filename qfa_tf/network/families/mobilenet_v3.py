"""MobileNetV3 as Once-for-All made it elastic (https://arxiv.org/abs/1908.09791)."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from qfa_tf.network.building import IMAGE, NetworkBuilder
from qfa_tf.network.checks import check_common_fields, from_fields, require_int, require_part
from qfa_tf.network.choices import Constant, Fraction, Multiple, make_divisible
from qfa_tf.network.families.parts import Head, Stage, Stem, as_stages
from qfa_tf.network.network import Network
from qfa_tf.network.nodes import GlobalPooling, SqueezeExcite, Sum


@dataclasses.dataclass(frozen=True)
class MobileNetV3:
    """Stem, stages of elastic inverted-residual blocks and head.

    Sites are called `stem`, `s1.b0.expand`, `s1.b0.depthwise`, `s1.b0.project`, `head.expand`,
    `head.mix` and `classifier`.

    Args:
      name: For people and files.
      resolutions: Input sizes in pixels, ascending.
      stem: First convolution.
      stages: At least one.
      head: What follows the last stage.
      weight_bits: Weight bit-widths of all sites that are not fixed, out of 2, 3, 4, 8, ascending.
      activation_bits: The same for the input of each convolution.
      fixed_bits: Maps a site to its only (weight bits, activation bits); 32 stands for float.
      input_channels: Channels of the images.
      num_classes: Outputs of the classifier.
      width_divisor: Hidden widths are multiples of it.

    Raises:
      InvalidSpaceError: A value is not allowed.
    """

    FAMILY: ClassVar[str] = "mobilenet_v3"

    name: str
    resolutions: tuple[int, ...]
    stem: Stem
    stages: tuple[Stage, ...]
    head: Head
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    fixed_bits: Mapping[str, tuple[int, int]]
    input_channels: int
    num_classes: int
    width_divisor: int = 8

    def __post_init__(self) -> None:
        check_common_fields(self)
        require_int("width_divisor", self.width_divisor)
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
        return from_fields(cls, fields, "A space")

    def network(self) -> Network:
        """The description of the network."""
        stem, head = self.stem, self.head
        builder = NetworkBuilder(
            self.resolutions,
            self.input_channels,
            self.weight_bits,
            self.activation_bits,
            self.fixed_bits,
        )
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

    # Geometry.

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
