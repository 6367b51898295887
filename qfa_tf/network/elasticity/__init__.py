"""Making a rigid network elastic: what hangs together, what can be left out; NumPy only."""

from qfa_tf.network.elasticity.channel_groups import ChannelGroup, ChannelGroups
from qfa_tf.network.elasticity.elastic_network import elastic_network
from qfa_tf.network.elasticity.options import ElasticityOptions

__all__ = ["ChannelGroup", "ChannelGroups", "ElasticityOptions", "elastic_network"]
