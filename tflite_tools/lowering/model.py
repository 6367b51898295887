"""Lowering of a whole quantized model."""

from quantize_configs.keras_backend import keras
from quantize_configs.kernels.large_filters import CPU_RUNTIME
from quantize_configs.wrappers import WrappedModel
from tflite_tools.integer_graph.graph import IntegerGraph
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.ends import add_output
from tflite_tools.lowering.options import ConversionOptions
from tflite_tools.lowering.registry import LOWERINGS
from tflite_tools.lowering.slow_operators import leave_to_builtin


def lower(
    model: keras.Model | WrappedModel, options: ConversionOptions | None = None
) -> IntegerGraph:
    """Turns a calibrated quantized model into its integer graph.

    Args:
      model: Made by `quantize_configs.quantize` or by `QFASupernet.extract`.
      options: See `ConversionOptions`.

    Raises:
      UnsupportedLayerError: A layer, or a tensor without a grid, cannot be exported.
      UncalibratedError: An activation quantizer has no range.
      GraphError, UnsupportedCombinationError: What a layer becomes breaks a rule of an operator, or
        LiteRT computes it wrongly or not at all; the sentence names the layer.
    """
    wrapped = model if isinstance(model, WrappedModel) else WrappedModel(model, frozen=True)
    lowering = Lowering(wrapped, options or ConversionOptions())
    for call in wrapped.graph.calls:
        if call.name not in lowering.values:
            LOWERINGS[type(call.layer)](lowering, call)
            lowering.check()
    for name in wrapped.graph.outputs:
        add_output(lowering, name)
    if lowering.options.runtime == CPU_RUNTIME:
        leave_to_builtin(lowering.graph)
    lowering.graph.validate()
    return lowering.graph
