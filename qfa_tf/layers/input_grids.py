"""Which learned grid the input of a site gets, by whether it can be negative."""

from qfa_tf.network import Convolution, Image, Network


def input_grid(network: Network, site: Convolution, signed_inputs: str) -> str:
    """The grid of a learned quantizer for the input of a site.

    Args:
      network: Of the site.
      site: One of its sites.
      signed_inputs: For inputs that can be negative: "offset", "signed", or "clip" (the published
        code of OQA: negatives become 0, except those of images).
    """
    if isinstance(network.node(site.inputs[0]), Image):  # the published code leaves it in float
        return "offset" if signed_inputs == "clip" else signed_inputs
    if signed_inputs == "clip" or network.is_nonnegative(site.inputs[0]):
        return "unsigned"
    return signed_inputs
