"""How supernets are trained."""

from qfa_tf.training.qfa import QFATraining, TrainingStage

__all__ = ["QFATraining", "TrainingStage"]
