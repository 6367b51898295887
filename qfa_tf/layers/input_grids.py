"""Which learned grid the input of a site gets, by whether it can be negative."""

from qfa_tf.layers.statistics import activation_of
from qfa_tf.space import SearchSpace


def input_grid(space: SearchSpace, site, signed_inputs: str) -> str:
    """The grid of a learned quantizer for the input of a site.

    Args:
      space: Search space.
      site: One of `space.sites`.
      signed_inputs: For inputs that can be negative: "offset", "signed", or "clip" (the published
        code of OQA: negatives become 0, except those of images).
    """
    if site.name == "stem":  # images, which the published code leaves in float
        return "offset" if signed_inputs == "clip" else signed_inputs
    if signed_inputs == "clip" or not can_be_negative(space, site):
        return "unsigned"
    return signed_inputs


def can_be_negative(space: SearchSpace, site) -> bool:
    """Whether something else than a ReLU made the input of a site: a linear layer, a hard-swish."""
    return _source_activation(space, site) not in ("relu", "relu6")


def _source_activation(space: SearchSpace, site) -> str:
    """Activation of what the site reads; squeeze-excite and pooling keep its sign."""
    order = [one.name for one in space.sites]
    before = {one.name: one for one in space.sites}
    place = order.index(site.name)
    return "linear" if place == 0 else activation_of(space, before[order[place - 1]])
