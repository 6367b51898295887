"""Functions computed in float, between DEQUANTIZE and QUANTIZE or at the ends of the model.

XNNPACK turns a function of each element between two INT8 tensors into one table.
"""

from collections.abc import Callable

import numpy as np

from quantize_configs.activations import HardSigmoid, HardSwish
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role, UnsupportedLayerError, activation_of, function_of
from quantize_configs.model_graph import LayerCall
from tflite_tools.integer_graph.graph import DataType, IntegerGraph
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.float_flow import stays_float
from tflite_tools.lowering.grids import Value
from tflite_tools.operators.elementwise import Add, Mul
from tflite_tools.operators.functions import HardSwish as HardSwishOperator
from tflite_tools.operators.functions import Logistic, Softmax
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.operator import Operator
from tflite_tools.operators.shaping import ResizeBilinear

layers = keras.layers

NONNEGATIVE = ("sigmoid", "softmax")
"""Functions whose values are never below 0."""

KEEP_SIGN = ("bilinear", "hard_swish", "swish")
"""Functions that are not below 0 where their argument is not."""


def lower_activation_layer(lowering: Lowering, call: LayerCall) -> None:
    """An Activation: a function by itself, or one that is fused."""
    if call.role is Role.POINTWISE:
        lower_function(lowering, call)
    else:
        lower_fused(lowering, call)


def lower_fused(lowering: Lowering, call: LayerCall) -> None:
    """An activation that the operation before it took in, or an identity with a grid."""
    source = lowering.values.get(call.inputs[0])
    if source is None:  # taken in by the operation before it
        return
    if activation_of(call.layer) != "linear":
        raise UnsupportedLayerError(
            f"The activation {call.name!r} is not fused into the operation before it, because "
            f"{call.inputs[0]!r} has a quantizer of its own. Remove that quantizer."
        )
    if lowering.wrapped.output_quantizer(call.name):
        source = lowering.mover.moved(source, lowering.grid(call.name), call.name)
    lowering.values[call.name] = source


def lower_function(lowering: Lowering, call: LayerCall) -> None:
    """A function between DEQUANTIZE and QUANTIZE, or of floats."""
    source = lowering.clamped(call.inputs[0])
    shape = lowering.shape(call)
    function = function_of(call.layer)
    steps = FloatSteps(lowering.graph, call, shape)
    result = WRITERS[function](steps, steps.floats(source.tensor))
    keeps_sign = function in KEEP_SIGN and source.nonnegative
    nonnegative = function in NONNEGATIVE or keeps_sign
    is_float = source.grid is None or stays_float(lowering.wrapped, call.name)
    if function == "softmax" or is_float:  # at an end of the model, or beside a float layer
        value = Value(result, None, nonnegative)
        if lowering.wrapped.output_quantizer(call.name):
            value = lowering.mover.moved(value, lowering.grid(call.name), call.name)
        lowering.values[call.name] = value
        return

    def add(target: str) -> None:
        lowering.graph.add_operation(call.name, Quantize(), [result], [target])

    lowering.write(call.name, nonnegative, shape, add)


class FloatSteps:
    """Adds operations on floats, one after the other, for one call.

    Args:
      graph: Graph under construction.
      call: A layer that is computed in float.
      shape: Of its output, which is that of every step unless another is given.
    """

    def __init__(self, graph: IntegerGraph, call: LayerCall, shape: tuple[int, ...]):
        self._graph = graph
        self._shape = shape
        self.call = call

    def floats(self, source: str) -> str:
        """FLOAT32 tensor of an INT8 or FLOAT32 tensor."""
        if self._graph.tensor(source).dtype is DataType.FLOAT32:
            return source
        shape = self._graph.tensor(source).shape
        return self.step("input.float", Dequantize(), source, shape=shape)

    def with_constant(
        self, role: str, operator: Operator, source: str, value: float, neutral: float
    ) -> str:
        """An operation with a number; nothing where it would change nothing."""
        if float(value) == neutral:
            return source
        name = f"{self.call.name}.{role}.constant"
        constant = self._graph.add_constant(name, np.array([value], np.float32), DataType.FLOAT32)
        return self.step(role, operator, source, constant)

    def step(
        self, role: str, operator: Operator, *sources: str, shape: tuple[int, ...] | None = None
    ) -> str:
        """An operation; returns the FLOAT32 tensor that it makes."""
        name = f"{self.call.name}.{role}"
        tensor = self._graph.add_tensor(name, shape or self._shape, DataType.FLOAT32)
        self._graph.add_operation(name, operator, sources, [tensor])
        return tensor


def _swish(steps: FloatSteps, x: str) -> str:
    return steps.step("result", Mul(), x, steps.step("gate", Logistic(), x))


def _rescaling(steps: FloatSteps, x: str) -> str:
    layer = steps.call.layer
    scaled = steps.with_constant("scaled", Mul(), x, layer.scale, neutral=1.0)
    return steps.with_constant("result", Add(), scaled, layer.offset, neutral=0.0)


WRITERS: dict[str, Callable[[FloatSteps, str], str]] = {
    "bilinear": lambda steps, x: steps.step(
        "result", ResizeBilinear(steps.call.owner.output_shape[1:3]), x
    ),
    "hard_swish": lambda steps, x: steps.step("result", HardSwishOperator(), x),
    "rescaling": _rescaling,
    "sigmoid": lambda steps, x: steps.step("result", Logistic(), x),
    "softmax": lambda steps, x: steps.step("result", Softmax(), x),
    "swish": _swish,
}
"""Adds the operations of a function of a FLOAT32 tensor and returns the tensor they make."""

LOWERINGS = {
    layers.ReLU: lower_fused,
    layers.Activation: lower_activation_layer,
    HardSigmoid: lower_fused,
    HardSwish: lower_function,
    layers.Softmax: lower_function,
    layers.Rescaling: lower_function,
}
