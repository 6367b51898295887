"""The weight-sharing quantized supernet."""

from qfa_tf.supernet.calibration import Calibration
from qfa_tf.supernet.supernet import QFASupernet

__all__ = ["Calibration", "QFASupernet"]
