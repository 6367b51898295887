"""The order of the channels of groups by importance, so that the first ones are the best slice."""

from collections.abc import Mapping

import numpy as np

from qfa_tf.network.elasticity.channel_groups import ChannelGroups
from qfa_tf.network.network import Network


def channel_orders(
    network: Network,
    groups: ChannelGroups,
    written: Mapping[str, np.ndarray],
    read: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Returns the new order of the channels of every group, int[channels], by its name.

    The importance of a channel is the energy that those who make it give it, times the energy that
    those who read it take from it; groups that are fixed keep their order.

    Args:
      network: Without choices.
      groups: Of the network.
      written: Energy of each output channel, [outputs], by site.
      read: Energy that a site takes from each input channel, [inputs], by site.
    """
    made = {group.name: np.zeros(group.channels) for group in groups.groups}
    taken = {group.name: np.zeros(group.channels) for group in groups.groups}
    for site in network.sites:
        _add(made, groups, site.name, written[site.name])
        _add(taken, groups, site.inputs[0], read[site.name])
    orders = {}
    for group in groups.groups:
        importance = made[group.name] * taken[group.name]
        keep = bool(group.fixed)
        order = np.argsort(-importance, kind="stable")
        orders[group.name] = np.arange(group.channels) if keep else order
    return orders


def order_of(groups: ChannelGroups, node: str, orders: Mapping[str, np.ndarray]) -> np.ndarray:
    """The new order of the channels of a node, int[width]: those of its groups side by side."""
    start, pieces = 0, []
    for group in groups.parts(node):
        pieces.append(start + orders[group.name])
        start += group.channels
    return np.concatenate(pieces)


def _add(
    totals: Mapping[str, np.ndarray], groups: ChannelGroups, node: str, energy: np.ndarray
) -> None:
    start = 0
    for group in groups.parts(node):
        totals[group.name][:] += energy[start : start + group.channels]
        start += group.channels
