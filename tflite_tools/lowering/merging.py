"""Layers that join tensors as integer operations."""

from quantize_configs.keras_backend import keras
from quantize_configs.model_graph import LayerCall
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.convolution import ACTIVATIONS
from tflite_tools.lowering.functions import FloatSteps
from tflite_tools.lowering.grids import Value
from tflite_tools.operators.elementwise import Add, Maximum, Minimum, Mul
from tflite_tools.operators.grids import Quantize
from tflite_tools.operators.shaping import Concatenation

layers = keras.layers
OPERATORS = {layers.Add: Add, layers.Multiply: Mul}
MOST_JOINED = 5
"""Tensors that XNNPACK concatenates at once; more would leave its partition."""
IN_FLOAT = {layers.Maximum: Maximum, layers.Minimum: Minimum}


def lower_merge(lowering: Lowering, call: LayerCall) -> None:
    """A sum or product of two tensors, with the activation that follows it."""
    activation, output = lowering.fused_activation(call)
    sources = [lowering.clamped(name) for name in call.inputs]
    nonnegative = activation != "linear" or all(source.nonnegative for source in sources)
    kind = OPERATORS[type(call.layer)]

    def add(target: str) -> None:
        operator = kind(ACTIVATIONS[activation])
        tensors = [source.tensor for source in sources]
        lowering.graph.add_operation(call.name, operator, tensors, [target])

    lowering.write(output, nonnegative, lowering.shape(call), add)


def lower_in_float(lowering: Lowering, call: LayerCall) -> None:
    """A function of two tensors between DEQUANTIZE and QUANTIZE."""
    values = [lowering.clamped(name) for name in call.inputs]
    steps = FloatSteps(lowering.graph, call, lowering.shape(call))
    reals = [
        lowering.mover.real(value, f"{call.name}.input_{number}.float")
        for number, value in enumerate(values)
    ]
    result = steps.step("result", IN_FLOAT[type(call.layer)](), *reals)
    nonnegative = all(value.nonnegative for value in values)

    def add(target: str) -> None:
        lowering.graph.add_operation(call.name, Quantize(), [result], [target])

    lowering.write(call.name, nonnegative, lowering.shape(call), add)


def lower_concatenation(lowering: Lowering, call: LayerCall) -> None:
    """All parts come onto the grid of the result; a clamp, if needed, follows it."""
    grid, names = lowering.target_grid(call.name)
    mover = lowering.mover
    parts = [
        mover.moved(lowering.values[name], grid, f"{call.name}.part_{number}")
        for number, name in enumerate(call.inputs)
    ]
    rank = len(call.owner.output_shape)
    target = mover.destination(call.name, lowering.shape(call), grid)
    sources = [mover.unshifted(part) for part in parts]
    operator = Concatenation(call.layer.axis % rank)
    while len(sources) > MOST_JOINED:  # as few as needed: they are copied twice
        joined = sources[: min(MOST_JOINED, len(sources) - MOST_JOINED + 1)]
        shapes = [lowering.graph.tensor(one).shape for one in joined]
        shape = operator.output_shape(shapes, shapes[0])
        together = mover.destination(f"{joined[0]}.{call.name}_joined", shape, grid)
        lowering.graph.add_operation(together, operator, joined, [together])
        sources = [together, *sources[len(joined) :]]
    lowering.graph.add_operation(call.name, operator, sources, [target])
    nonnegative = all(part.nonnegative for part in parts)
    is_clamped = all(part.is_clamped for part in parts)
    lowering.register(names, Value(target, grid, nonnegative, is_clamped))


LOWERINGS = {
    layers.Add: lower_merge,
    layers.Multiply: lower_merge,
    layers.Maximum: lower_in_float,
    layers.Minimum: lower_in_float,
    layers.Concatenate: lower_concatenation,
}
