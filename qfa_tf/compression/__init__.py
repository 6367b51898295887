"""A trained Keras model, data and a budget in; a quantized network within the budget out."""

from qfa_tf.compression.budget import parse_budget
from qfa_tf.compression.compress import Compression, compress

__all__ = ["Compression", "compress", "parse_budget"]
