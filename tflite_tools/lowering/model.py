"""Lowering of a whole quantized model."""

import numpy as np

from quantize_configs import weight_containers
from quantize_configs.folding import fold_linear
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import (
    MERGING_LAYERS,
    Role,
    UnsupportedLayerError,
    activation_of,
)
from quantize_configs.model_graph import LayerCall
from quantize_configs.wrappers import WrappedModel
from tflite_tools.graph import (
    Add,
    DataType,
    DepthwiseConv2D,
    Dequantize,
    HardSwish,
    IntegerGraph,
    MaxPool2D,
    Mean,
    Mul,
    Padding,
    Quantization,
    Quantize,
    Reshape,
)
from tflite_tools.lowering.grids import Grid, GridMover, Value
from tflite_tools.lowering.linear import ACTIVATIONS, add_linear, padding_of
from tflite_tools.lowering.options import ConversionOptions

layers = keras.layers


def lower(model: keras.Model, options: ConversionOptions | None = None) -> IntegerGraph:
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

    def __init__(self, model: keras.Model, options: ConversionOptions):
        self._model = model
        self._options = options
        self._wrapped = WrappedModel(model)
        self._graph = IntegerGraph()
        self._mover = GridMover(self._graph)
        self._values: dict[str, Value] = {}

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
        grid, names = self._target_grid(call.name)
        tensor = self._graph.add_input(call.name, shape, DataType.INT8, grid.quantization)
        self._register(names, self._mover.written(tensor, grid, nonnegative=False))

    def _add_output(self, name: str) -> None:
        value = self._clamped(name)
        if self._options.output_type == "int8":
            self._graph.outputs.append(value.tensor)
            return
        shape = self._graph.tensor(value.tensor).shape
        tensor = self._graph.add_tensor(f"{name}.float", shape, DataType.FLOAT32)
        self._graph.add_operation(tensor, Dequantize(), [value.tensor], [tensor])
        self._graph.outputs.append(tensor)

    # Grids.

    def _grid(self, name: str) -> Grid:
        return Grid(*self._wrapped.activation_grid(name))

    def _target_grid(self, name: str) -> tuple[Grid, list[str]]:
        """Grid that a tensor is written on, and the names of all tensors that are this one.

        The grid is that of the tensor itself or of the first identity layer behind it with one.
        """
        names = [name]
        while not self._wrapped.output_quantizer(names[-1]):
            reader = self._wrapped.graph.sole_reader(names[-1])
            if reader is None or not _is_identity(reader):
                raise UnsupportedLayerError(
                    f"The output of layer {name!r} has no grid. Quantize the model with "
                    "tensor_quantizers=True (subnets: extract with deployment_grids=True)."
                )
            names.append(reader.name)
        return self._grid(names[-1]), names

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
        folded = fold_linear(self._wrapped, call)
        container = weight_containers.choose(folded, self._options.weight_container)
        factor = weight_containers.input_factor(folded, container)
        source = self._mover.spread(self._values[call.inputs[0]], factor)

        if folded.activation == "hard_sigmoid":
            self._check_hard_sigmoid(folded.output)

        def add(target):
            add_linear(self._graph, folded, source, target, container)

        self._write(folded.output, folded.activation != "linear", self._shape(call), add)

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
        """A float operator between DEQUANTIZE and QUANTIZE; XNNPACK makes one table of them."""
        source = self._clamped(call.inputs[0])
        shape = self._shape(call)
        real = self._graph.add_tensor(f"{call.name}.input.float", shape, DataType.FLOAT32)
        self._graph.add_operation(real, Dequantize(), [source.tensor], [real])
        function = self._graph.add_tensor(f"{call.name}.float", shape, DataType.FLOAT32)
        self._graph.add_operation(function, HardSwish(), [real], [function])

        def add(target):
            self._graph.add_operation(call.name, Quantize(), [function], [target])

        self._write(call.name, source.nonnegative, shape, add)

    def _lower_arithmetic(self, call: LayerCall) -> None:
        activation, output = "linear", call.name
        reader = self._wrapped.graph.sole_reader(call.name)
        if reader is not None and reader.role is Role.ACTIVATION:
            name = activation_of(reader.layer)
            if name != "linear":
                activation, output = name, reader.name
        sources = [self._clamped(name) for name in call.inputs]
        nonnegative = activation != "linear" or all(source.nonnegative for source in sources)
        merges = isinstance(call.layer, MERGING_LAYERS)
        lower_one = self._lower_merge if merges else self._lower_average

        def add(target):
            lower_one(call, [source.tensor for source in sources], target, activation)

        self._write(output, nonnegative, self._shape(call), add)

    def _lower_merge(self, call, sources, target, activation) -> None:
        kind = Add if isinstance(call.layer, layers.Add) else Mul
        if len(sources) != 2:
            raise UnsupportedLayerError(
                f"Layer {call.name!r} joins {len(sources)} tensors; LiteRT's {kind.kind} joins "
                f"two. Chain several {type(call.layer).__name__} layers."
            )
        self._graph.add_operation(call.name, kind(ACTIVATIONS[activation]), sources, [target])

    def _lower_average(self, call, sources, target, activation) -> None:
        """Global pooling as MEAN, others as a depthwise convolution with equal weights.

        XNNPACK runs no int8 AVERAGE_POOL_2D; the convolution is exact and stays delegated.
        """
        layer = call.layer
        if isinstance(layer, layers.GlobalAveragePooling2D):
            if activation == "linear":
                mean = Mean(keep_dims=bool(layer.keepdims))
                self._graph.add_operation(call.name, mean, sources, [target])
                return
            raise UnsupportedLayerError(
                f"Layer {call.name!r} is followed by an activation, which LiteRT cannot fuse into "
                "MEAN. Put the activation before the pooling."
            )
        height, width = layer.pool_size
        rows, columns, channels = call.owner.input_shape[1:]
        exact = rows % layer.strides[0] == 0 and columns % layer.strides[1] == 0
        if layer.padding == "same" and not (exact and layer.strides == layer.pool_size):
            raise UnsupportedLayerError(
                f"Layer {call.name!r} averages over padded windows, whose size varies. Use "
                "padding='valid', or a window that divides the map."
            )
        codes = np.ones((1, height, width, channels), np.int8)
        scales = np.full(channels, 1.0 / (height * width), np.float32)
        weights = self._graph.add_constant(
            f"{call.name}.weight", codes, DataType.INT8, Quantization(scales, axis=3)
        )
        zeros = np.zeros(channels, np.int32)
        bias = self._graph.add_bias(f"{call.name}.bias", zeros, sources[0], weights)
        attributes = DepthwiseConv2D(
            tuple(layer.strides), Padding.VALID, ACTIVATIONS[activation], depth_multiplier=1
        )
        self._graph.add_operation(call.name, attributes, [*sources, weights, bias], [target])

    def _lower_passing(self, call: LayerCall) -> None:
        source = self._clamped(call.inputs[0])
        if isinstance(call.layer, layers.Dropout):
            self._values[call.name] = source
            return
        if source.grid is None:
            raise UnsupportedLayerError(
                f"Layer {call.name!r} reads the input of the model, which is not quantized there. "
                "Put a convolution or dense layer first."
            )
        if isinstance(call.layer, layers.MaxPooling2D):
            layer = call.layer
            attributes = MaxPool2D(tuple(layer.pool_size), tuple(layer.strides), padding_of(layer))
        else:
            attributes = Reshape()
        quantization = self._graph.tensor(source.tensor).quantization
        tensor = self._graph.add_tensor(call.name, self._shape(call), DataType.INT8, quantization)
        self._graph.add_operation(call.name, attributes, [source.tensor], [tensor])
        self._values[call.name] = Value(tensor, source.grid, source.nonnegative)


def _is_identity(call: LayerCall) -> bool:
    return call.role is Role.ACTIVATION and activation_of(call.layer) == "linear"
