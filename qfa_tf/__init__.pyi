from .cost import CostModel
from .space import Architecture, SearchSpace
from .supernet import Calibration, QFASupernet
from .training import OQATraining, QFATraining, TrainingStage
from .version import __version__

__all__ = [
    "Architecture",
    "Calibration",
    "CostModel",
    "OQATraining",
    "QFASupernet",
    "QFATraining",
    "SearchSpace",
    "TrainingStage",
    "__version__",
]
