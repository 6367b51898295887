"""The weight-sharing quantized supernet."""

from qfa_tf.supernet.calibration import Calibration
from qfa_tf.supernet.inheritance import INHERITANCES, inherit
from qfa_tf.supernet.supernet import QFASupernet

__all__ = ["INHERITANCES", "Calibration", "QFASupernet", "inherit"]
