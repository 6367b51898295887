"""Layers that join tensors as integer operations."""

from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import UnsupportedLayerError
from quantize_configs.model_graph import LayerCall
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.convolution import ACTIVATIONS
from tflite_tools.lowering.grids import Value
from tflite_tools.operators.elementwise import Add, Mul
from tflite_tools.operators.shaping import Concatenation

layers = keras.layers
OPERATORS = {layers.Add: Add, layers.Multiply: Mul}


def lower_merge(lowering: Lowering, call: LayerCall) -> None:
    """A sum or product of two tensors, with the activation that follows it."""
    activation, output = lowering.fused_activation(call)
    sources = [lowering.clamped(name) for name in call.inputs]
    nonnegative = activation != "linear" or all(source.nonnegative for source in sources)
    kind = OPERATORS[type(call.layer)]
    if len(sources) != 2:
        raise UnsupportedLayerError(
            f"Layer {call.name!r} joins {len(sources)} tensors; LiteRT's {kind.kind} joins "
            f"two. Chain several {type(call.layer).__name__} layers."
        )

    def add(target: str) -> None:
        operator = kind(ACTIVATIONS[activation])
        tensors = [source.tensor for source in sources]
        lowering.graph.add_operation(call.name, operator, tensors, [target])

    lowering.write(output, nonnegative, lowering.shape(call), add)


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
    lowering.graph.add_operation(call.name, operator, sources, [target])
    nonnegative = all(part.nonnegative for part in parts)
    is_clamped = all(part.is_clamped for part in parts)
    lowering.register(names, Value(target, grid, nonnegative, is_clamped))


LOWERINGS = {
    layers.Add: lower_merge,
    layers.Multiply: lower_merge,
    layers.Concatenate: lower_concatenation,
}
