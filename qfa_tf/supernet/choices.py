"""From a genome tensor to what each site and block of a supernet has to do."""

import tensorflow as tf

from qfa_tf.layers import SiteChoice
from qfa_tf.layers.statistics import output_width
from qfa_tf.space import SearchSpace


def site_choice(space: SearchSpace, site, genome: tf.Tensor) -> SiteChoice:
    """What `genome`, int32 [n_genes], chose for a site of an active block."""
    weight_bits = space.lookup(f"{site.name}.weight_bits").read(genome)
    activation_bits = space.lookup(f"{site.name}.activation_bits").read(genome)
    width, kernel_size = output_width(space, site), None
    if site.stage is not None:
        prefix = f"s{site.stage}.b{site.block}"
        if not site.name.endswith(".project"):
            width = _mid_width(space, site, space.lookup(f"{prefix}.expand_ratio").read(genome))
        if site.kind == "depthwise":
            kernel_size = space.lookup(f"{prefix}.kernel_size").read(genome)
    return SiteChoice(weight_bits, activation_bits, width, kernel_size)


def _mid_width(space, site, ratio):
    ratios = space.stages[site.stage].expand_ratios
    widths = [space.mid_width(site.stage, site.block, value) for value in ratios]
    if len(ratios) == 1:
        return widths[0]
    index = tf.argmax(tf.equal(ratio, list(ratios)), output_type=tf.int32)
    return tf.gather(tf.constant(widths, tf.int32), index)
