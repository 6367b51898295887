"""Elastic layers: convolutions whose widths, kernels and bits are chosen at run time."""

from qfa_tf.layers.site import ElasticSite, SiteChoice
from qfa_tf.layers.squeeze_excite import SqueezeExcite
from qfa_tf.layers.statistics import Mode, StatisticsLayout

__all__ = ["ElasticSite", "Mode", "SiteChoice", "SqueezeExcite", "StatisticsLayout"]
