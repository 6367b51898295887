"""Search spaces by name."""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from qfa_tf.network import FLOAT_BITS, make_divisible
from qfa_tf.network.checks import as_choices, as_fixed_bits
from qfa_tf.network.families import Family, Head, MobileNetV3, Stage, Stem
from qfa_tf.network.families.mobilenet_v2 import MobileNetV2
from qfa_tf.network.families.resnet import ResNet
from qfa_tf.space.errors import InvalidSpaceError

STEM_WIDTH, EXPAND_WIDTH, MIX_WIDTH = 16, 960, 1280
STAGE_WIDTHS = (16, 24, 40, 80, 112, 160)
STAGE_STRIDES = (1, 2, 2, 2, 1, 2)
SQUEEZE_EXCITE = (False, False, True, False, True, True)
HARD_SWISH_FROM = 3
"""The widths and stages of MobileNetV3-Large as Once-for-All uses them, before the multiplier."""


def make(name: str) -> Family:
    """Returns the preset called `name`.

    Raises:
      InvalidSpaceError: There is no such preset.
    """
    if not isinstance(name, str) or name not in _PRESETS:
        raise InvalidSpaceError(f"The presets are {sorted(_PRESETS)}. Received: {name!r}")
    return _PRESETS[name]()


def names() -> tuple[str, ...]:
    """Returns the names of all presets."""
    return tuple(sorted(_PRESETS))


def mobilenet_v3(
    width_mult: float = 1.0,
    *,
    name: str | None = None,
    resolutions: Sequence[int] = tuple(range(128, 225, 4)),
    depths: Sequence[int] = (2, 3, 4),
    kernel_sizes: Sequence[int] = (3, 5, 7),
    expand_ratios: Sequence[int] = (3, 4, 6),
    weight_bits: Sequence[int] = (2, 3, 4),
    activation_bits: Sequence[int] = (2, 3, 4),
    stem_bits: tuple[int, int] = (FLOAT_BITS, FLOAT_BITS),
    classifier_bits: tuple[int, int] = (8, 8),
    fixed_bits: Mapping[str, tuple[int, int]] = MappingProxyType({}),
    activation: str = "hard_swish",
    squeeze_excite: bool = True,
    stem_stride: int = 2,
    input_channels: int = 3,
    num_classes: int = 1000,
) -> Family:
    """The MobileNetV3 space of Once-for-All, OQA and QFA (https://arxiv.org/abs/1908.09791).

    A stem, one block of kernel 3 without an expand convolution, five stages of elastic blocks,
    and a head with two 1x1 convolutions. Widths are multiples of 8.

    Args:
      width_mult: Multiplies all widths.
      name: Of the space; made from the multiplier and the resolutions by default.
      resolutions: Input sizes in pixels, ascending.
      depths: Blocks per stage.
      kernel_sizes: Depthwise kernels, out of 3, 5, 7.
      expand_ratios: Hidden over input channels.
      weight_bits: Of all convolutions but the stem and the classifier.
      activation_bits: The same, for their inputs.
      stem_bits: Weight and activation bits of the stem; 32 is float (the papers).
      classifier_bits: The same for the classifier.
      fixed_bits: Bits of further sites that are not to be chosen.
      activation: From the fourth stage on and in stem and head; the first three have ReLU, or
        ReLU6 when this is "relu6".
      squeeze_excite: Whether stages 2, 4 and 5 have squeeze-excite.
      stem_stride: 1 or 2; 1 suits small images.
      input_channels: Channels of the images.
      num_classes: Outputs of the classifier.

    Raises:
      InvalidSpaceError: A value is not allowed.
    """
    is_number = isinstance(width_mult, int | float) and not isinstance(width_mult, bool)
    if not is_number or not 0 < width_mult <= 8:
        raise InvalidSpaceError(f"width_mult must be a number in (0, 8]. Received: {width_mult!r}")
    resolutions = as_choices("resolutions", resolutions)
    fixed_bits = as_fixed_bits(fixed_bits)

    def scaled(width: int) -> int:
        return make_divisible(width * width_mult, 8)

    early = "relu" if activation == "hard_swish" else activation
    stages = [
        Stage(
            width=scaled(width),
            stride=stride,
            depths=as_choices("stage.depths", depths) if s else (1,),
            kernel_sizes=as_choices("stage.kernel_sizes", kernel_sizes) if s else (3,),
            expand_ratios=as_choices("stage.expand_ratios", expand_ratios) if s else (1,),
            activation=activation if s >= HARD_SWISH_FROM else early,
            squeeze_excite=squeeze_excite if has_squeeze_excite else False,
        )
        for s, (width, stride, has_squeeze_excite) in enumerate(
            zip(STAGE_WIDTHS, STAGE_STRIDES, SQUEEZE_EXCITE, strict=True)
        )
    ]
    if name is None:
        sizes = "to".join(str(size) for size in sorted({resolutions[0], resolutions[-1]}))
        name = f"mobilenet_v3_w{width_mult:g}_{sizes}px"
    return MobileNetV3(
        name=name,
        resolutions=resolutions,
        stem=Stem(scaled(STEM_WIDTH), kernel_size=3, stride=stem_stride, activation=activation),
        stages=tuple(stages),
        head=Head(scaled(EXPAND_WIDTH), scaled(MIX_WIDTH), activation),
        weight_bits=tuple(weight_bits),
        activation_bits=tuple(activation_bits),
        fixed_bits={"stem": stem_bits, "classifier": classifier_bits, **fixed_bits},
        input_channels=input_channels,
        num_classes=num_classes,
    )


def _mobilenet_v3_mobile() -> Family:
    """For LiteRT on phones: bits that have fast kernels, ReLU6 and no squeeze-excite.

    The same simplifications as EfficientNet-Lite: every operator is a fast integer one.
    """
    return mobilenet_v3(
        1.0,
        name="mobilenet_v3_mobile",
        weight_bits=(4, 8),
        activation_bits=(8,),
        stem_bits=(8, 8),
        activation="relu6",
        squeeze_excite=False,
    )


def _digits_tiny() -> Family:
    """Grey images of ten digits; trains in minutes on two cores."""
    elastic: dict[str, Any] = {
        "depths": (1, 2),
        "kernel_sizes": (3, 5),
        "expand_ratios": (2, 3, 4),
    }
    return MobileNetV3(
        name="digits_tiny",
        resolutions=(24, 28, 32),
        stem=Stem(width=8, kernel_size=3, stride=2, activation="relu6"),
        stages=(
            Stage(8, 1, depths=(1,), kernel_sizes=(3,), expand_ratios=(1,), activation="relu"),
            Stage(16, 2, activation="relu6", **elastic),
            Stage(24, 2, activation="relu6", **elastic),
        ),
        head=Head(expand_width=96, mix_width=64, activation="relu6"),
        weight_bits=(2, 3, 4, 8),
        activation_bits=(2, 3, 4, 8),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=10,
    )


def _fashion_mnist() -> Family:
    """Grey images of 28 pixels; squeeze-excite, hard-swish and the bits of the papers."""
    elastic: dict[str, Any] = {"kernel_sizes": (3, 5), "expand_ratios": (2, 3, 4)}
    return MobileNetV3(
        name="fashion_mnist",
        resolutions=(20, 24, 28),
        stem=Stem(width=16, kernel_size=3, stride=2, activation="hard_swish"),
        stages=(
            Stage(16, 1, depths=(1,), kernel_sizes=(3,), expand_ratios=(1,), activation="relu"),
            Stage(24, 1, depths=(1, 2), activation="relu", **elastic),
            Stage(40, 2, depths=(1, 2, 3), activation="hard_swish", squeeze_excite=True, **elastic),
        ),
        head=Head(expand_width=160, mix_width=128, activation="hard_swish"),
        weight_bits=(2, 3, 4),
        activation_bits=(2, 3, 4),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=10,
    )


def _mobilenet_v2() -> Family:
    """The network of the paper at width 1.0, with bits that are fast on phones."""
    return MobileNetV2(
        name="mobilenet_v2",
        resolutions=tuple(range(128, 225, 16)),
        stem_width=32,
        stem_stride=2,
        widths=(16, 24, 32, 64, 96, 160, 320),
        strides=(1, 2, 2, 2, 1, 2, 1),
        depths=((1,), (1, 2), (2, 3), (2, 3, 4), (2, 3), (2, 3), (1,)),
        last_width=1280,
        kernel_sizes=(3, 5, 7),
        expand_ratios=(3, 4, 6),
        weight_bits=(4, 8),
        activation_bits=(8,),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=3,
        num_classes=1000,
    )


def _mobilenet_v2_tiny() -> Family:
    """Grey images of ten digits, for tests and first steps."""
    return MobileNetV2(
        name="mobilenet_v2_tiny",
        resolutions=(12, 16),
        stem_width=8,
        stem_stride=1,
        widths=(8, 16),
        strides=(1, 2),
        depths=((1,), (1, 2)),
        last_width=32,
        kernel_sizes=(3, 5),
        expand_ratios=(2, 3),
        weight_bits=(2, 4, 8),
        activation_bits=(4, 8),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=10,
    )


def _resnet(name: str, **settings: Any) -> Family:
    """A ResNet whose ends have 8 bits, for colour images of thousand classes or as `settings`."""
    return ResNet(
        **{
            "name": name,
            "resolutions": tuple(range(128, 225, 16)),
            "block": "bottleneck",
            "stem": "large",
            "widths": (64, 128, 256, 512),
            "strides": (1, 2, 2, 2),
            "depths": ((2, 3), (2, 3, 4), (3, 4, 5, 6), (2, 3)),
            "width_percents": (50, 75, 100),
            "weight_bits": (4, 8),
            "activation_bits": (8,),
            "fixed_bits": {"stem": (8, 8), "classifier": (8, 8)},
            "input_channels": 3,
            "num_classes": 1000,
            **settings,
        }
    )


_SMALL_RESNET = {
    "block": "basic",
    "stem": "small",
    "weight_bits": (2, 3, 4, 8),
    "activation_bits": (4, 8),
    "num_classes": 10,
}
_TINY_RESNET = {
    "widths": (8, 16),
    "strides": (1, 2),
    "depths": ((1, 2), (1, 2)),
    "width_percents": (50, 100),
    "weight_bits": (2, 4, 8),
    "activation_bits": (4, 8),
    "input_channels": 1,
    "num_classes": 10,
}

_PRESETS: dict[str, Callable[[], Family]] = {
    "digits_tiny": _digits_tiny,
    "fashion_mnist": _fashion_mnist,
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v2_tiny": _mobilenet_v2_tiny,
    "mobilenet_v3_mobile": _mobilenet_v3_mobile,
    "mobilenet_v3_w1.0": functools.partial(mobilenet_v3, 1.0, name="mobilenet_v3_w1.0"),
    "mobilenet_v3_w1.2": functools.partial(mobilenet_v3, 1.2, name="mobilenet_v3_w1.2"),
    "resnet_20": functools.partial(
        _resnet,
        "resnet_20",
        resolutions=(24, 28, 32),
        widths=(16, 32, 64),
        strides=(1, 2, 2),
        depths=((1, 2, 3),) * 3,
        **_SMALL_RESNET,
    ),
    "resnet_50": functools.partial(_resnet, "resnet_50"),
    "resnet_bottleneck_tiny": functools.partial(
        _resnet, "resnet_bottleneck_tiny", resolutions=(24, 32), **_TINY_RESNET
    ),
    "resnet_tiny": functools.partial(
        _resnet, "resnet_tiny", resolutions=(12, 16), **{**_SMALL_RESNET, **_TINY_RESNET}
    ),
}
