"""What an architecture costs: MACs, bit operations, parameters and bytes; NumPy only."""

from qfa_tf.cost.geometry import convolution, output_size
from qfa_tf.cost.model import ACCOUNTINGS, METRICS, CostModel, SiteCost, UnknownAccountingError

__all__ = [
    "ACCOUNTINGS",
    "METRICS",
    "CostModel",
    "SiteCost",
    "UnknownAccountingError",
    "convolution",
    "output_size",
]
