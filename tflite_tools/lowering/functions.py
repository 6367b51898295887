"""Functions computed in float, between DEQUANTIZE and QUANTIZE or at the ends of the model.

XNNPACK turns a function of each element between two INT8 tensors into one table.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from quantize_configs.activations import HardSigmoid, HardSwish, PointwiseFunction
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role, UnsupportedLayerError, activation_of, function_of
from quantize_configs.model_graph import LayerCall
from tflite_tools.integer_graph.graph import DataType, IntegerGraph
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.float_flow import stays_float
from tflite_tools.lowering.grids import Value
from tflite_tools.operators.elementwise import Add, Minimum, Mul, SquaredDifference, Sub
from tflite_tools.operators.functions import (
    Exp,
    Gelu,
    LeakyRelu,
    Logistic,
    PRelu,
    Relu,
    Relu6,
    Rsqrt,
    Softmax,
    Tanh,
)
from tflite_tools.operators.functions import HardSwish as HardSwishOperator
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.operator import Operator
from tflite_tools.operators.pooling import Mean
from tflite_tools.operators.settings import Activation
from tflite_tools.operators.shaping import ResizeBilinear

layers = keras.layers

NONNEGATIVE = (
    "alone_hard_sigmoid",
    "alone_relu",
    "alone_relu6",
    "hard_sigmoid",
    "sigmoid",
    "softmax",
)
"""Functions whose values are never below 0."""

KEEP_SIGN = (
    "bilinear",
    "clipped_relu",
    "elu",
    "gelu",
    "hard_swish",
    "leaky_relu",
    "prelu",
    "selu",
    "swish",
    "tanh",
)
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
    if is_float or not _has_grid(lowering, call.name):  # beside a float layer, or at an end
        value = Value(result, None, nonnegative)
        if lowering.wrapped.output_quantizer(call.name):
            value = lowering.mover.moved(value, lowering.grid(call.name), call.name)
        lowering.values[call.name] = value
        return

    def add(target: str) -> None:
        lowering.graph.add_operation(call.name, Quantize(), [result], [target])

    lowering.write(call.name, nonnegative, shape, add)


def _has_grid(lowering: Lowering, name: str) -> bool:
    wrapped = lowering.wrapped
    return bool(wrapped.output_quantizer(name) or wrapped.graph.readers(name))


class FloatSteps:
    """Adds operations on floats, one after the other, for one call.

    Args:
      graph: Graph under construction.
      call: A layer that is computed in float.
      shape: Of its output, which is that of every step unless another is given.
    """

    def __init__(self, graph: IntegerGraph, call: LayerCall, shape: tuple[int, ...]):
        self._graph = graph
        self.shape = shape
        self.call = call

    def floats(self, source: str) -> str:
        """FLOAT32 tensor of an INT8 or FLOAT32 tensor."""
        if self._graph.tensor(source).dtype is DataType.FLOAT32:
            return source
        shape = self._graph.tensor(source).shape
        return self.step("input.float", Dequantize(), source, shape=shape)

    def with_constant(
        self,
        role: str,
        operator: Operator,
        source: str,
        value: npt.ArrayLike,
        neutral: float | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> str:
        """An operation with a number, or one for each channel; nothing where it changes nothing."""
        if neutral is not None and np.all(np.equal(value, neutral)):
            return source
        name = f"{self.call.name}.{role}.constant"
        values = np.atleast_1d(np.asarray(value, np.float32))
        return self.step(role, operator, source, self.constant(name, values), shape=shape)

    def constant(self, name: str, values: np.ndarray) -> str:
        """A FLOAT32 constant."""
        return self._graph.add_constant(name, values.astype(np.float32), DataType.FLOAT32)

    def step(
        self, role: str, operator: Operator, *sources: str, shape: tuple[int, ...] | None = None
    ) -> str:
        """An operation; returns the FLOAT32 tensor that it makes."""
        name = f"{self.call.name}.{role}"
        tensor = self._graph.add_tensor(name, shape or self.shape, DataType.FLOAT32)
        self._graph.add_operation(name, operator, sources, [tensor])
        return tensor


def _swish(steps: FloatSteps, x: str) -> str:
    return steps.step("result", Mul(), x, steps.step("gate", Logistic(), x))


def _rescaling(steps: FloatSteps, x: str) -> str:
    layer = steps.call.layer
    scaled = steps.with_constant("scaled", Mul(), x, layer.scale, neutral=1.0)
    return steps.with_constant("result", Add(), scaled, layer.offset, neutral=0.0)


def _clipped_relu(steps: FloatSteps, x: str) -> str:
    layer = steps.call.layer
    slope, maximum = layer.negative_slope, layer.max_value
    x = steps.step("positive", LeakyRelu(float(slope)) if slope else Relu(), x)
    return x if maximum is None else steps.with_constant("result", Minimum(), x, float(maximum))


def _elu(steps: FloatSteps, x: str, alpha: float, scale: float = 1.0) -> str:
    """relu(x) + alpha (exp(min(x, 0)) - 1), because the reference kernels have no ELU."""
    positive = steps.step("positive", Relu(), x)
    negative = steps.step("exponential", Exp(), steps.with_constant("negative", Minimum(), x, 0.0))
    negative = steps.with_constant("shifted", Add(), negative, -1.0)
    negative = steps.with_constant("scaled", Mul(), negative, alpha, neutral=1.0)
    total = steps.step("sum", Add(), positive, negative)
    return steps.with_constant("result", Mul(), total, scale, neutral=1.0)


def _keras_hard_sigmoid(steps: FloatSteps, x: str) -> str:
    """clip(x / 5 + 1 / 2, 0, 1)."""
    scaled = steps.with_constant("scaled", Mul(), x, 0.2)
    shifted = steps.with_constant("shifted", Add(Activation.RELU), scaled, 0.5)
    return steps.with_constant("result", Minimum(), shifted, 1.0)


def _alone_hard_sigmoid(steps: FloatSteps, x: str) -> str:
    """relu6(x + 3) / 6."""
    shifted = steps.with_constant("shifted", Add(Activation.RELU6), x, 3.0)
    return steps.with_constant("result", Mul(), shifted, 1.0 / 6.0)


def _prelu(steps: FloatSteps, x: str) -> str:
    slopes = steps.constant(f"{steps.call.name}.slopes", steps.call.layer.alpha.numpy())
    return steps.step("result", PRelu(), x, slopes)


def _layer_normalization(steps: FloatSteps, x: str) -> str:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta over the last axis."""
    layer, shape = steps.call.layer, steps.shape
    mean = Mean(keep_dims=True, axes=(len(shape) - 1,))
    narrow = (*shape[:-1], 1)
    centre = steps.step("mean", mean, x, shape=narrow)
    centred = steps.step("centred", Sub(), x, centre)
    # XNNPACK would fuse a product with itself into the mean, which sums in another order then.
    squares = steps.step("squares", SquaredDifference(), x, centre)
    variance = steps.step("variance", mean, squares, shape=narrow)
    shifted = steps.with_constant("shifted", Add(), variance, layer.epsilon, shape=narrow)
    inverse = steps.step("inverse", Rsqrt(), shifted, shape=narrow)
    result = steps.step("normed", Mul(), centred, inverse)
    if layer.scale:
        result = steps.with_constant("scaled", Mul(), result, layer.gamma.numpy())
    if layer.center:
        result = steps.with_constant("result", Add(), result, layer.beta.numpy())
    return result


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al., 2017

WRITERS: dict[str, Callable[[FloatSteps, str], str]] = {
    "alone_hard_sigmoid": _alone_hard_sigmoid,
    "alone_relu": lambda steps, x: steps.step("result", Relu(), x),
    "alone_relu6": lambda steps, x: steps.step("result", Relu6(), x),
    "alone_tanh_gelu": lambda steps, x: steps.step("result", Gelu(approximate=True), x),
    "clipped_relu": _clipped_relu,
    "elu": lambda steps, x: _elu(steps, x, float(getattr(steps.call.layer, "alpha", 1.0))),
    "gelu": lambda steps, x: steps.step("result", Gelu(), x),
    "hard_sigmoid": _keras_hard_sigmoid,
    "layer_normalization": _layer_normalization,
    "leaky_relu": lambda steps, x: steps.step(
        "result", LeakyRelu(float(steps.call.layer.alpha)), x
    ),
    "prelu": _prelu,
    "selu": lambda steps, x: _elu(steps, x, _SELU_ALPHA, _SELU_SCALE),
    "tanh": lambda steps, x: steps.step("result", Tanh(), x),
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
    layers.ReLU: lower_activation_layer,
    layers.Activation: lower_activation_layer,
    HardSigmoid: lower_fused,
    HardSwish: lower_function,
    PointwiseFunction: lower_function,
    layers.Softmax: lower_function,
    layers.LeakyReLU: lower_function,
    layers.PReLU: lower_function,
    layers.ELU: lower_function,
}
