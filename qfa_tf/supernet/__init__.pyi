from .calibration import Calibration
from .inheritance import INHERITANCES, inherit
from .metric_evaluator import MetricEvaluator
from .options import SupernetOptions
from .supernet import QFASupernet

__all__ = [
    "INHERITANCES",
    "Calibration",
    "MetricEvaluator",
    "QFASupernet",
    "SupernetOptions",
    "inherit",
]
