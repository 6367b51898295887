from .compression.compress import compress
from .cost import CostModel
from .errors import QFAError
from .runs.functions import benchmark, export, finetune, search_subnets, train
from .space import Architecture, SearchSpace
from .supernet import Calibration, QFASupernet
from .training import OQATraining, QFATraining, TrainingStage
from .version import __version__

__all__ = [
    "Architecture",
    "Calibration",
    "CostModel",
    "OQATraining",
    "QFAError",
    "QFASupernet",
    "QFATraining",
    "SearchSpace",
    "TrainingStage",
    "__version__",
    "benchmark",
    "compress",
    "export",
    "finetune",
    "search_subnets",
    "train",
]
