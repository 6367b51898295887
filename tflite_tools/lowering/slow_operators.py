"""Leaving to the built-in kernels what XNNPACK computes slowly."""

import dataclasses
import math

from quantize_configs.kernels.large_filters import is_left_to_builtin
from tflite_tools.integer_graph.graph import DataType, IntegerGraph
from tflite_tools.integer_graph.operations import Operation
from tflite_tools.operators.convolution import DepthwiseConv2D


def slow_in_xnnpack(graph: IntegerGraph) -> list[Operation]:
    """The depthwise convolutions of 8 bits that XNNPACK has no kernel of its own for."""
    return [operation for operation in graph.operations if _is_slow(graph, operation)]


def leave_to_builtin(graph: IntegerGraph) -> None:
    """Marks them, in place."""
    for place, operation in enumerate(graph.operations):
        attributes = operation.attributes
        if isinstance(attributes, DepthwiseConv2D) and _is_slow(graph, operation):
            attributes = dataclasses.replace(attributes, left_to_builtin=True)
            graph.operations[place] = dataclasses.replace(operation, attributes=attributes)


def _is_slow(graph: IntegerGraph, operation: Operation) -> bool:
    if not isinstance(operation.attributes, DepthwiseConv2D):
        return False
    taps = math.prod(graph.tensor(operation.inputs[1]).shape[1:3])
    is_integer = graph.tensor(operation.inputs[0]).dtype is DataType.INT8
    return is_integer and is_left_to_builtin("depthwise", taps)
