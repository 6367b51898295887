"""What an architecture costs: MACs, bit operations, parameters and bytes; NumPy only."""

from qfa_tf.cost.errors import CostUnavailableError, LatencyTableError
from qfa_tf.cost.latency_table import LatencyTable, OperatorKey, operators
from qfa_tf.cost.model import ACCOUNTINGS, METRICS, CostModel, UnknownAccountingError
from qfa_tf.cost.official import UndefinedAccountingError
from qfa_tf.cost.site_cost import SiteCost

__all__ = [
    "ACCOUNTINGS",
    "METRICS",
    "CostModel",
    "CostUnavailableError",
    "LatencyTable",
    "LatencyTableError",
    "OperatorKey",
    "SiteCost",
    "UndefinedAccountingError",
    "UnknownAccountingError",
    "operators",
]
