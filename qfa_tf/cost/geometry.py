"""The convolutions of a site: how many weights and biases, and how large their output is."""

from typing import NamedTuple

from qfa_tf.space import SearchSpace, Site


class Convolution(NamedTuple):
    """Sizes of one convolution. MACs are `weights` times the output positions.

    Attributes:
      weights: Number of weights.
      biases: Number of output channels, each of which carries one bias on the device.
    """

    weights: int
    biases: int


def convolution(
    space: SearchSpace, site: Site, kernel_size: int = 1, expand_ratio: int = 1
) -> Convolution:
    """Returns the sizes of the convolution at `site`.

    Every output channel counts one bias, as deployed: batch norm folds into it, and the operator
    of `head.mix`, which is trained without one, carries one as well.

    Args:
      space: Search space of the site.
      site: One of `space.sites`.
      kernel_size: Of the block; ignored outside the stages.
      expand_ratio: Of the block; ignored outside the stages.
    """
    head = space.head
    if site.name == "stem":
        stem = space.stem
        return Convolution(stem.kernel_size**2 * space.input_channels * stem.width, stem.width)
    if site.name == "head.expand":
        return Convolution(space.stages[-1].width * head.expand_width, head.expand_width)
    if site.name == "head.mix":
        return Convolution(head.expand_width * head.mix_width, head.mix_width)
    if site.name == "classifier":
        inputs = head.expand_width if head.mix_width is None else head.mix_width
        return Convolution(inputs * space.num_classes, space.num_classes)
    mid = space.mid_width(site.stage, site.block, expand_ratio)
    part = site.name.rpartition(".")[2]
    if part == "expand":
        return Convolution(space.block_input_width(site.stage, site.block) * mid, mid)
    if part == "depthwise":
        return Convolution(kernel_size**2 * mid, mid)
    width = space.stages[site.stage].width
    return Convolution(mid * width, width)


def squeeze_excite(space: SearchSpace, stage: int, block: int, expand_ratio: int) -> Convolution:
    """Returns the sizes of both convolutions of a squeeze-excite together; their map is 1 x 1.

    Args:
      space: Search space of the block.
      stage: Index of a stage with squeeze-excite.
      block: Index of the block slot in its stage.
      expand_ratio: Of the block.
    """
    mid = space.mid_width(stage, block, expand_ratio)
    squeeze = space.squeeze_width(mid)
    return Convolution(2 * mid * squeeze, squeeze + mid)


def output_size(space: SearchSpace, site: Site, resolution: int) -> int:
    """Returns height and width of the output of `site` at an input of `resolution` pixels."""
    if site.name == "stem":
        return space.feature_size(resolution, -1)
    if site.name == "head.expand":
        return space.feature_size(resolution)
    if site.stage is None:
        return 1
    is_input = site.name.endswith(".expand") and site.block == 0
    return space.feature_size(resolution, site.stage - 1 if is_input else site.stage)
