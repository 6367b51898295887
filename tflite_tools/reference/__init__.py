"""Exact arithmetic of the LiteRT CPU kernels in NumPy, and the interpreter that uses it."""

from tflite_tools.reference.interpreter import interpret

__all__ = ["interpret"]
