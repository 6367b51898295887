"""Functions computed in float, between DEQUANTIZE and QUANTIZE or at the ends of the model.

XNNPACK turns a function of each element between two INT8 tensors into one table.
"""

import numpy as np

from quantize_configs.layer_roles import function_of
from quantize_configs.model_graph import LayerCall
from tflite_tools.integer_graph.graph import DataType, IntegerGraph
from tflite_tools.operators.elementwise import Add, Mul
from tflite_tools.operators.functions import HardSwish, Logistic, Softmax
from tflite_tools.operators.grids import Dequantize

NONNEGATIVE = ("sigmoid", "softmax")


class FunctionWriter:
    """Adds the operations of one call.

    Args:
      graph: Graph under construction.
      call: A pointwise layer.
      shape: Of its output, which is that of its input.
    """

    def __init__(self, graph: IntegerGraph, call: LayerCall, shape: tuple[int, ...]):
        self._graph = graph
        self._call = call
        self._shape = shape

    def write(self, source: str) -> str:
        """Adds the function of `source`, INT8 or FLOAT32, and returns the FLOAT32 tensor."""
        if self._graph.tensor(source).dtype is not DataType.FLOAT32:
            source = self._step("input.float", Dequantize(), source)
        match function_of(self._call.layer):
            case "hard_swish":
                return self._step("result", HardSwish(), source)
            case "sigmoid":
                return self._step("result", Logistic(), source)
            case "softmax":
                return self._step("result", Softmax(), source)
            case "swish":
                gate = self._step("gate", Logistic(), source)
                return self._step("result", Mul(), source, gate)
            case "rescaling":
                layer = self._call.layer
                scaled = self._with_constant("scaled", Mul(), source, layer.scale, neutral=1.0)
                return self._with_constant("result", Add(), scaled, layer.offset, neutral=0.0)
        raise TypeError(f"No operations for {function_of(self._call.layer)!r}.")

    def _with_constant(self, role, attributes, source, value, neutral) -> str:
        if float(value) == neutral:
            return source
        name = f"{self._call.name}.{role}.constant"
        value = np.array([value], np.float32)
        return self._step(
            role, attributes, source, self._graph.add_constant(name, value, DataType.FLOAT32)
        )

    def _step(self, role: str, attributes, *sources: str) -> str:
        name = f"{self._call.name}.{role}"
        tensor = self._graph.add_tensor(name, self._shape, DataType.FLOAT32)
        self._graph.add_operation(name, attributes, sources, [tensor])
        return tensor
