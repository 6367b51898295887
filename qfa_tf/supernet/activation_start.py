"""First values of learned activation grids, from what the sites of a subnet read."""

import dataclasses

import tensorflow as tf

from qfa_tf.layers import ElasticSite, Mode
from qfa_tf.space import Architecture
from qfa_tf.supernet.protocol import Supernet


def start_activations(
    net: Supernet, images: tf.Tensor, replace: bool, architecture: Architecture | None = None
) -> None:
    """Starts learned grids from one batch; see `QFASupernet.start_activations`.

    The largest subnet, then `architecture`, run in float: the grids of all bits start from the same
    activations, and a grid that has no sense yet disturbs no other.
    """
    starts = _Starts()
    net.run_subnet(Mode.TRAIN, images, net.as_genome(net.space.largest()), observer=starts)
    if architecture is not None:  # its sites note their values over those of the largest
        net.run_subnet(Mode.TRAIN, images, net.as_genome(architecture), observer=starts)
    net.precision.start_activations(starts.values, replace)


class _Starts:
    """Runs sites without quantizers, and notes where the grids of their inputs would start."""

    def __init__(self):
        self.values = {}

    def before(self, layer, x, choice):
        """Notes the start; the choice without grids."""
        if not isinstance(layer, ElasticSite):
            return choice
        if layer.activation_quantizer is not None:
            self.values[layer.name] = layer.activation_quantizer.start(x.numpy())
        return dataclasses.replace(choice, weight=None, activation=None)

    def after(self, layer, y):
        """Nothing to note."""
