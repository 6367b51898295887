"""How supernets are trained."""

from qfa_tf.training.learning_rate import CosineSegment, StagedCosine
from qfa_tf.training.oqa import OQATraining
from qfa_tf.training.qfa import QFATraining, TrainingStage

__all__ = ["CosineSegment", "OQATraining", "QFATraining", "StagedCosine", "TrainingStage"]
