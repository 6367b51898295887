"""The ends of a graph: its inputs and its outputs."""

from quantize_configs.bit_widths import FLOAT_BITS, WIDE_BITS
from quantize_configs.layer_roles import Role, UnsupportedLayerError, function_of
from quantize_configs.model_graph import LayerCall
from tflite_tools.integer_graph.graph import DataType, Quantization
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.float_flow import stays_float
from tflite_tools.lowering.grids import Grid, Value
from tflite_tools.lowering.images import lower_image, pixels_of
from tflite_tools.operators.grids import Dequantize, Quantize

SOFTMAX_GRID = Grid(1.0 / 256.0, 0, 8)
_SIGN_OFFSET = 128


def lower_input(lowering: Lowering, call: LayerCall) -> None:
    """Adds an input of the graph, and its value on a grid or in float."""
    shape = (1, *call.layer.output_shape[0][1:])
    if None in shape:
        raise UnsupportedLayerError(
            f"The input {call.name!r} has the shape {call.layer.output_shape[0]}; only the "
            "batch may be open. Build the model with a fixed input shape, set the weights and "
            "convert it."
        )
    if lowering.options.input_type == "float32":
        tensor = lowering.graph.add_input(call.name, shape, DataType.FLOAT32)
        lowering.values[call.name] = Value(tensor, None, False)
        return
    pixels = pixels_of(lowering.wrapped.graph, lowering.options, call.name)
    if pixels is not None:
        lower_image(lowering, call, shape, pixels)
        return
    if lowering.options.input_type == "uint8":
        raise ValueError(
            "input_type='uint8' needs to know what the bytes 0 and 255 stand for. Pass "
            "pixel_range=(low, high), for example (0.0, 1.0), or let the model begin with a "
            "Rescaling layer."
        )
    grid, names = (
        (None, []) if stays_float(lowering.wrapped, call.name) else lowering.target_grid(call.name)
    )
    if grid is None or grid.is_wide:
        raise UnsupportedLayerError(
            f"The input {call.name!r} is read by a layer in float or with {WIDE_BITS} bits and "
            "has no INT8 grid. Convert with input_type='float32', or with pixel_range=(low, "
            "high) for the bytes of an image."
        )
    tensor = lowering.graph.add_input(call.name, shape, DataType.INT8, grid.quantization)
    lowering.register(names, lowering.mover.written(tensor, grid, nonnegative=False))


def add_output(lowering: Lowering, name: str) -> None:
    """Makes the value of a tensor an output of the graph."""
    value = lowering.clamped(name)
    if lowering.options.output_type != "float32":
        if value.grid is None and _ends_in_softmax(lowering, name):
            value = lowering.mover.moved(value, SOFTMAX_GRID, name)
        if value.grid is None or value.grid.is_wide:
            bits = FLOAT_BITS if value.grid is None else value.grid.bits
            raise UnsupportedLayerError(
                f"The output {name!r} comes from a layer with {bits} bits and has no INT8 "
                "grid. Convert with output_type='float32', or give that layer 8 bits."
            )
        unsigned = lowering.options.output_type == "uint8"
        lowering.graph.outputs.append(
            _bytes_of(lowering, value, name) if unsigned else value.tensor
        )
        return
    shape = lowering.graph.tensor(value.tensor).shape
    if value.grid is None:
        lowering.graph.outputs.append(value.tensor)
        return
    tensor = lowering.graph.add_tensor(f"{name}.float", shape, DataType.FLOAT32)
    lowering.graph.add_operation(tensor, Dequantize(), [value.tensor], [tensor])
    lowering.graph.outputs.append(tensor)


def _bytes_of(lowering: Lowering, value: Value, name: str) -> str:
    """A tensor of INT8 codes plus 128: the same numbers in UINT8."""
    signed = lowering.graph.tensor(value.tensor)
    grid = Quantization(signed.grid.scale, signed.grid.zero_point + _SIGN_OFFSET)
    tensor = lowering.graph.add_tensor(f"{name}.bytes", signed.shape, DataType.UINT8, grid)
    lowering.graph.add_operation(tensor, Quantize(), [value.tensor], [tensor])
    return tensor


def _ends_in_softmax(lowering: Lowering, name: str) -> bool:
    call = lowering.wrapped.graph.by_name[name]
    return call.role is Role.POINTWISE and function_of(call.layer) == "softmax"
