"""First values of learned activation grids, from what the sites of a subnet read."""

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import tensorflow as tf

from qfa_tf.layers import Mode
from qfa_tf.space import Architecture

if TYPE_CHECKING:
    from qfa_tf.supernet.supernet import QFASupernet


def start_activations(
    net: "QFASupernet", images: tf.Tensor, replace: bool, architecture: Architecture | None = None
) -> None:
    """Starts learned grids from one batch; see `QFASupernet.start_activations`.

    The largest subnet, then `architecture`, run in float: the grids of all bits start from the same
    activations, and a grid that has no sense yet disturbs no other.
    """
    values = {}
    with contextlib.ExitStack() as stack:
        for site in net.space.sites:
            stack.enter_context(_in_float(net.site_layer(site.name), values))
        net.run_subnet(Mode.TRAIN, images, net.as_genome(net.space.largest()))
        if architecture is not None:  # its sites note their values over those of the largest
            net.run_subnet(Mode.TRAIN, images, net.as_genome(architecture))
    net.precision.start_activations(values, replace)


@contextlib.contextmanager
def _in_float(layer, values):
    """Runs a site without quantizers, and notes where the grids of its input would start."""
    call = layer.call

    def noting(x, choice, *arguments, **keywords):
        if layer.activation_quantizer is not None:
            values[layer.name] = layer.activation_quantizer.initial_values(x.numpy())
        choice = dataclasses.replace(choice, weight=None, activation=None)
        return call(x, choice, *arguments, **keywords)

    layer.call = noting
    try:
        yield
    finally:
        layer.call = call
