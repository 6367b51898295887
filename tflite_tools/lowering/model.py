"""Lowering of a whole quantized model."""

import dataclasses

import numpy as np

from quantize_configs import weight_containers
from quantize_configs.bit_widths import FLOAT_BITS, WIDE_BITS
from quantize_configs.float_folding import fold_float
from quantize_configs.folding import fold_linear
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import (
    MERGING_LAYERS,
    Role,
    UnsupportedLayerError,
    activation_of,
    function_of,
)
from quantize_configs.model_graph import LayerCall
from quantize_configs.wrappers import WrappedModel
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.lowering.float_flow import stays_float
from tflite_tools.lowering.functions import NONNEGATIVE, FunctionWriter
from tflite_tools.lowering.grids import Grid, GridMover, Value
from tflite_tools.lowering.linear import ACTIVATIONS, add_float, add_linear, padding_of
from tflite_tools.lowering.options import ConversionOptions
from tflite_tools.lowering.pooling import add_average, pads_like_same
from tflite_tools.operators.elementwise import Add, Mul
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.pooling import MaxPool2D
from tflite_tools.operators.settings import Padding
from tflite_tools.operators.shaping import Concatenation, Pad, Reshape

layers = keras.layers
SOFTMAX_GRID = Grid(1.0 / 256.0, 0, 8)
IMAGE_TYPES = {"uint8": DataType.UINT8, "int8": DataType.INT8}


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
      UnsupportedCombinationError: LiteRT computes a combination wrongly or not at all.
    """
    graph = _Lowering(model, options or ConversionOptions()).run()
    graph.validate()
    return graph


class _Lowering:
    """State of one lowering: the graph so far and the value of every Keras tensor."""

    def __init__(self, model: keras.Model | WrappedModel, options: ConversionOptions):
        self._options = options
        is_wrapped = isinstance(model, WrappedModel)
        self._wrapped = model if is_wrapped else WrappedModel(model, frozen=True)
        self._graph = IntegerGraph()
        self._mover = GridMover(self._graph)
        self._values: dict[str, Value] = {}
        self._same_padded: set[str] = set()  # "valid" convolutions behind a zero padding

    def run(self) -> IntegerGraph:
        """Lowers all calls in order."""
        handlers = {
            Role.INPUT: self._lower_input,
            Role.LINEAR: self._lower_linear,
            Role.NORMALIZATION: self._skip_fused,
            Role.ACTIVATION: self._lower_activation,
            Role.POINTWISE: self._lower_pointwise,
            Role.ARITHMETIC: self._lower_arithmetic,
            Role.PASSING: self._lower_passing,
        }
        for call in self._wrapped.graph.calls:
            if call.name not in self._values:
                handlers[call.role](call)
        for name in self._wrapped.graph.outputs:
            self._add_output(name)
        return self._graph

    # Ends of the graph.

    def _lower_input(self, call: LayerCall) -> None:
        shape = (1, *call.layer.output_shape[0][1:])
        if None in shape:
            raise UnsupportedLayerError(
                f"The input {call.name!r} has the shape {call.layer.output_shape[0]}; only the "
                "batch may be open. Build the model with a fixed input shape, set the weights and "
                "convert it."
            )
        if self._options.input_type == "float32":
            tensor = self._graph.add_input(call.name, shape, DataType.FLOAT32)
            self._values[call.name] = Value(tensor, None, False)
            return
        pixels = self._pixels(call)
        if pixels is not None:
            self._values[call.name] = self._add_image(call.name, shape, *pixels)
            return
        if self._options.input_type == "uint8":
            raise ValueError(
                "input_type='uint8' needs to know what the bytes 0 and 255 stand for. Pass "
                "pixel_range=(low, high), for example (0.0, 1.0), or let the model begin with a "
                "Rescaling layer."
            )
        grid, names = (
            (None, []) if stays_float(self._wrapped, call.name) else self._target_grid(call.name)
        )
        if grid is None or grid.is_wide:
            raise UnsupportedLayerError(
                f"The input {call.name!r} is read by a layer in float or with {WIDE_BITS} bits and "
                "has no INT8 grid. Convert with input_type='float32', or with pixel_range=(low, "
                "high) for the bytes of an image."
            )
        tensor = self._graph.add_input(call.name, shape, DataType.INT8, grid.quantization)
        self._register(names, self._mover.written(tensor, grid, nonnegative=False))

    def _pixels(self, call: LayerCall) -> tuple[float, float] | None:
        """(scale, offset) from bytes to what the model takes; None when it takes no bytes."""
        reader = self._wrapped.graph.sole_reader(call.name)
        if reader is not None and isinstance(reader.layer, layers.Rescaling):
            return 1.0, 0.0
        return self._options.pixels

    def _add_image(self, name: str, shape, scale: float, offset: float) -> Value:
        """A graph input of bytes (minus 128 as int8), and its real values."""
        dtype = IMAGE_TYPES[self._options.input_type]
        quantization = Quantization(np.float32(scale), dtype.limits[0])
        image = self._graph.add_input(name, shape, dtype, quantization)
        real = self._graph.add_tensor(f"{name}.float", shape, DataType.FLOAT32)
        self._graph.add_operation(real, Dequantize(), [image], [real])
        if offset:
            shift = np.array([offset], np.float32)
            shift = self._graph.add_constant(f"{name}.offset", shift, DataType.FLOAT32)
            shifted = self._graph.add_tensor(f"{name}.shifted", shape, DataType.FLOAT32)
            self._graph.add_operation(shifted, Add(), [real, shift], [shifted])
            real = shifted
        return Value(real, None, offset >= 0)

    def _add_output(self, name: str) -> None:
        value = self._clamped(name)
        if self._options.output_type == "int8":
            if value.grid is None and self._ends_in_softmax(name):
                value = self._mover.moved(value, SOFTMAX_GRID, name)
            if value.grid is None or value.grid.is_wide:
                bits = FLOAT_BITS if value.grid is None else value.grid.bits
                raise UnsupportedLayerError(
                    f"The output {name!r} comes from a layer with {bits} bits and has no INT8 "
                    "grid. Convert with output_type='float32', or give that layer 8 bits."
                )
            self._graph.outputs.append(value.tensor)
            return
        shape = self._graph.tensor(value.tensor).shape
        if value.grid is None:
            self._graph.outputs.append(value.tensor)
            return
        tensor = self._graph.add_tensor(f"{name}.float", shape, DataType.FLOAT32)
        self._graph.add_operation(tensor, Dequantize(), [value.tensor], [tensor])
        self._graph.outputs.append(tensor)

    def _ends_in_softmax(self, name: str) -> bool:
        call = self._wrapped.graph.by_name[name]
        return call.role is Role.POINTWISE and function_of(call.layer) == "softmax"

    # Grids.

    def _grid(self, name: str) -> Grid:
        return Grid(*self._wrapped.activation_grid(name))

    def _target_grid(self, name: str) -> tuple[Grid, list[str]]:
        """Grid that a tensor is written on, and the names of all tensors that are this one.

        The grid is that of the tensor itself, or the first one behind identity layers, layers that
        pass grids on, and a Concatenate.
        """
        names, last, is_same = [name], name, True
        while not self._wrapped.output_quantizer(last):
            reader = self._wrapped.graph.sole_reader(last)
            if reader is None or not (_is_identity(reader) or _shares_grid(reader)):
                raise UnsupportedLayerError(
                    f"The output of layer {name!r} has no grid. Quantize the model with "
                    "tensor_quantizers=True (subnets: extract with deployment_grids=True)."
                )
            last = reader.name
            is_same = is_same and _is_identity(reader)
            if is_same:
                names.append(last)
        return self._grid(last), names

    def _clamped(self, name: str) -> Value:
        """The value of a tensor, for readers that do not clamp it themselves."""
        self._values[name] = value = self._mover.clamped(self._values[name])
        return value

    def _register(self, names: list[str], value: Value) -> None:
        self._values.update(dict.fromkeys(names, value))

    def _write(self, name: str, nonnegative: bool, shape, add_operation) -> None:
        """Makes the tensor for the end of a fused chain and registers its value."""
        grid, names = self._target_grid(name)
        target = self._mover.destination(name, shape, grid)
        add_operation(target)
        self._register(names, self._mover.written(target, grid, nonnegative))

    def _shape(self, call: LayerCall) -> tuple[int, ...]:
        return (1, *call.owner.output_shape[1:])

    # Operations.

    def _lower_linear(self, call: LayerCall) -> None:
        if self._wrapped.float_bits(call.name) is not None:
            self._lower_float(call)
            return
        folded = fold_linear(self._wrapped, call)
        container = weight_containers.choose(folded, self._options.weight_container)
        factor = weight_containers.input_factor(folded, container)
        source = self._mover.spread(self._values[call.inputs[0]], factor)

        if folded.activation == "hard_sigmoid":
            self._check_hard_sigmoid(folded.output)
            if folded.input_bits == WIDE_BITS:
                raise UnsupportedLayerError(
                    f"The hard-sigmoid {folded.output!r} follows a layer with {WIDE_BITS} bits, "
                    "whose INT16 result no saturation clamps. Give that layer 8 bits or float."
                )

        def add(target):
            add_linear(self._graph, folded, source, target, container, self._padding(call))

        self._write(folded.output, folded.activation != "linear", self._shape(call), add)

    def _lower_float(self, call: LayerCall) -> None:
        """A layer in float: DEQUANTIZE in front of it and QUANTIZE behind it, where needed."""
        folded = fold_float(self._wrapped, call)
        source = self._mover.real(self._values[call.inputs[0]], f"{call.name}.source")
        has_grid = bool(self._wrapped.output_quantizer(folded.output))
        if folded.activation == "hard_sigmoid":
            self._check_hard_sigmoid(folded.output)
        target = f"{folded.output}.float" if has_grid else folded.output
        target = self._graph.add_tensor(target, self._shape(call), DataType.FLOAT32)
        add_float(self._graph, folded, source, target, self._padding(call))
        value = Value(target, None, folded.activation != "linear")
        if has_grid:
            value = self._mover.moved(value, self._grid(folded.output), folded.output)
        self._register([folded.output], value)

    def _padding(self, call: LayerCall) -> Padding | None:
        return Padding.SAME if call.name in self._same_padded else None

    def _check_hard_sigmoid(self, name: str) -> None:
        grid, _ = self._target_grid(name)
        if grid.bits != 8 or grid.zero_point != 0:
            raise UnsupportedLayerError(
                f"The hard-sigmoid {name!r} is quantized to {grid.bits} bits with the zero point "
                f"{grid.zero_point}; it needs 8 bits and zero point 0, where saturation clamps it. "
                "Give it the quantizer that quantize_configs.quantize does."
            )

    def _skip_fused(self, call: LayerCall) -> None:
        """Nothing: the linear layer before it has taken it in."""

    def _lower_activation(self, call: LayerCall) -> None:
        source = self._values.get(call.inputs[0])
        if source is None:  # taken in by the operation before it
            return
        if activation_of(call.layer) != "linear":
            raise UnsupportedLayerError(
                f"The activation {call.name!r} is not fused into the operation before it, because "
                f"{call.inputs[0]!r} has a quantizer of its own. Remove that quantizer."
            )
        if self._wrapped.output_quantizer(call.name):
            source = self._mover.moved(source, self._grid(call.name), call.name)
        self._values[call.name] = source

    def _lower_pointwise(self, call: LayerCall) -> None:
        source = self._clamped(call.inputs[0])
        shape = self._shape(call)
        function = function_of(call.layer)
        result = FunctionWriter(self._graph, call, shape).write(source.tensor)
        nonnegative = function in NONNEGATIVE or source.nonnegative
        is_float = source.grid is None or stays_float(self._wrapped, call.name)
        if function == "softmax" or is_float:  # at an end of the model, or beside a float layer
            value = Value(result, None, nonnegative)
            if self._wrapped.output_quantizer(call.name):
                value = self._mover.moved(value, self._grid(call.name), call.name)
            self._values[call.name] = value
            return

        def add(target):
            self._graph.add_operation(call.name, Quantize(), [result], [target])

        self._write(call.name, nonnegative, shape, add)

    def _lower_arithmetic(self, call: LayerCall) -> None:
        activation, output = "linear", call.name
        reader = self._wrapped.graph.sole_reader(call.name)
        if reader is not None and reader.role is Role.ACTIVATION:
            name = activation_of(reader.layer)
            if name != "linear":
                activation, output = name, reader.name
        if isinstance(call.layer, layers.Concatenate):
            self._lower_concatenation(call)
            return
        sources = [self._clamped(name) for name in call.inputs]
        nonnegative = activation != "linear" or all(source.nonnegative for source in sources)
        merges = isinstance(call.layer, MERGING_LAYERS)
        tensors = [source.tensor for source in sources]

        def add(target):
            if merges:
                self._add_merge(call, tensors, target, ACTIVATIONS[activation])
            else:
                add_average(self._graph, call, *tensors, target, ACTIVATIONS[activation])

        self._write(output, nonnegative, self._shape(call), add)

    def _add_merge(self, call, sources, target, activation) -> None:
        kind = Add if isinstance(call.layer, layers.Add) else Mul
        if len(sources) != 2:
            raise UnsupportedLayerError(
                f"Layer {call.name!r} joins {len(sources)} tensors; LiteRT's {kind.kind} joins "
                f"two. Chain several {type(call.layer).__name__} layers."
            )
        self._graph.add_operation(call.name, kind(activation), sources, [target])

    def _lower_concatenation(self, call: LayerCall) -> None:
        """All parts come onto the grid of the result; a clamp, if needed, follows it."""
        grid, names = self._target_grid(call.name)
        parts = [
            self._mover.moved(self._values[name], grid, f"{call.name}.part_{number}")
            for number, name in enumerate(call.inputs)
        ]
        rank = len(call.owner.output_shape)
        target = self._mover.destination(call.name, self._shape(call), grid)
        attributes = Concatenation(call.layer.axis % rank)
        self._graph.add_operation(
            call.name, attributes, [self._mover.unshifted(part) for part in parts], [target]
        )
        nonnegative = all(part.nonnegative for part in parts)
        is_clamped = all(part.is_clamped for part in parts)
        self._register(names, Value(target, grid, nonnegative, is_clamped))

    def _lower_passing(self, call: LayerCall) -> None:
        """An operation that moves or compares codes; what clamp they still need comes after it."""
        source = self._values[call.inputs[0]]
        if isinstance(call.layer, layers.Dropout) or self._is_absorbed(call):
            self._values[call.name] = source
            return
        if source.grid is None and not stays_float(self._wrapped, call.name):
            grid, _ = self._target_grid(call.name)
            source = self._mover.moved(source, grid, f"{call.name}.input")
        given = self._graph.tensor(source.tensor)
        tensor = self._graph.add_tensor(
            call.name, self._shape(call), given.dtype, given.quantization
        )
        attributes = _passing_operation(call.layer)
        self._graph.add_operation(call.name, attributes, [source.tensor], [tensor])
        self._values[call.name] = dataclasses.replace(source, tensor=tensor)

    def _is_absorbed(self, call: LayerCall) -> bool:
        """Whether a zero padding becomes the SAME padding of the convolution that reads it."""
        if not isinstance(call.layer, layers.ZeroPadding2D):
            return False
        reader = self._wrapped.graph.sole_reader(call.name)
        while reader is not None and _is_identity(reader):
            reader = self._wrapped.graph.sole_reader(reader.name)
        if reader is None or not pads_like_same(call, reader):
            return False
        self._same_padded.add(reader.name)
        return True


def _passing_operation(layer):
    if isinstance(layer, layers.MaxPooling2D):
        return MaxPool2D(tuple(layer.pool_size), tuple(layer.strides), padding_of(layer))
    if isinstance(layer, layers.ZeroPadding2D):
        return Pad(*layer.padding)
    return Reshape()


def _is_identity(call: LayerCall) -> bool:
    return call.role is Role.ACTIVATION and activation_of(call.layer) == "linear"


def _shares_grid(call: LayerCall) -> bool:
    return call.role is Role.PASSING or isinstance(call.layer, layers.Concatenate)
