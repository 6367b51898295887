from .errors import DivergedError
from .learning_rate import CosineSegment, StagedCosine
from .oqa import OQATraining
from .qfa import QFATraining, TrainingStage

__all__ = [
    "CosineSegment",
    "DivergedError",
    "OQATraining",
    "QFATraining",
    "StagedCosine",
    "TrainingStage",
]
