"""The integer graph of a subnet from its architecture alone, with random weights.

It has the operators, shapes and types that `QFASupernet.extract` and `tflite_tools.convert` give
the same architecture (tests compare them), so that its latency is that of the trained subnet;
training, calibration and TensorFlow's graphs are not needed. What it computes means nothing.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from qfa_tf.cost.tflite_size import container_bits
from qfa_tf.latency.plain_nodes import write_plain
from qfa_tf.network import (
    Convolution,
    Flatten,
    Function,
    GlobalPooling,
    Image,
    Network,
    Node,
    Pooling,
    Rescaling,
    SqueezeExcite,
    Subnet,
    SubnetNode,
    Sum,
    Upsampling,
)
from qfa_tf.network import Padding as PaddingNode
from qfa_tf.network.nodes import dilated_size, strided_size
from qfa_tf.space import Architecture, SearchSpace
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.lowering.grids import Grid, GridMover, Value
from tflite_tools.operators.convolution import Conv2D, DepthwiseConv2D, FullyConnected
from tflite_tools.operators.elementwise import Add, Mul
from tflite_tools.operators.functions import HardSwish
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.operator import Operator
from tflite_tools.operators.pooling import MaxPool2D, Mean
from tflite_tools.operators.settings import Activation, Padding

CODES = 255
WIDE = 8
"""Bits of tensors that training leaves in float."""
_STEP = 0.05
_WEIGHT_SCALE = np.float32(0.01)
_CONTAINERS = {8: DataType.INT8, 4: DataType.INT4, 2: DataType.INT2}
_FUSED = {"relu": Activation.RELU, "relu6": Activation.RELU6}


@dataclasses.dataclass(frozen=True)
class Linear:
    """One convolution or dense layer.

    Attributes:
      name: Of the site, or of a part of squeeze-excite.
      kind: "convolution", "pointwise", "depthwise" or "dense".
      width: Output channels.
      kernel_size: Height and width of the kernel.
      stride: Of the convolution.
      activation: "linear", "relu", "relu6", "hard_swish" or "hard_sigmoid".
      weight_bits: Of the codes.
      container: Bits in which a weight is stored.
      padding: "same" or "valid".
      kernel_width: Where the kernel is not square; None elsewhere.
      groups: Of a convolution.
      dilation: Distance of neighbouring weights of the kernel.
    """

    name: str
    kind: str
    width: int
    kernel_size: int
    stride: int
    activation: str
    weight_bits: int
    container: int
    padding: str = "same"
    kernel_width: int | None = None
    groups: int = 1
    dilation: int = 1

    def renamed(self, name: str) -> "Linear":
        """The same layer under another name."""
        return dataclasses.replace(self, name=name)

    def without_table(self) -> "Linear":
        """The same layer without a hard-swish, which is an operator of its own."""
        is_table = self.activation == "hard_swish"
        return dataclasses.replace(self, activation="linear") if is_table else self


class SubnetGraphWriter:
    """Writes parts of subnets into one graph.

    Args:
      seed: Of the weights.

    Attributes:
      graph: What was written so far.
    """

    def __init__(self, seed: int = 0):
        self.graph = IntegerGraph()
        self._mover = GridMover(self.graph)
        self._rng = np.random.default_rng(seed)

    def image(self, size: int, channels: int, input_type: str) -> Value:
        """The image as the graph takes it: "float32" numbers, or "uint8" bytes made such."""
        shape = (1, size, size, channels)
        if input_type == "float32":
            return Value(self.graph.add_input("image", shape, DataType.FLOAT32), None, False)
        scale = Quantization(np.float32(1 / 255), 0)
        source = self.graph.add_input("image", shape, DataType.UINT8, scale)
        real = self.step("image.float", Dequantize(), source)
        return Value(real, None, True)

    def source(self, name: str, size: int, channels: int, bits: int, nonnegative: bool) -> Value:
        """A graph input on the grid of a layer that reads it."""
        grid = _grid(bits, nonnegative)
        shape = (1, size, size, channels)
        tensor = self.graph.add_input(name, shape, DataType.INT8, grid.quantization)
        return self._mover.written(tensor, grid, nonnegative)

    def vector(self, name: str, channels: int, bits: int, nonnegative: bool) -> Value:
        """The same for what comes after the global pooling."""
        grid = _grid(bits, nonnegative)
        tensor = self.graph.add_input(name, (1, channels), DataType.INT8, grid.quantization)
        return self._mover.written(tensor, grid, nonnegative)

    def read(self, value: Value, name: str, bits: int, *, is_first: bool = True) -> Value:
        """`value` on the grid of the layer `name`, for one that others read as well.

        Its own grid is made for the first layer that reads it, which takes one QUANTIZE then.
        """
        if value.grid is None:
            grid = _grid(bits, value.nonnegative)
        else:
            steps = 2 * round(128 * (2**bits - 1) / CODES) - 1  # an odd number of 256ths
            step = value.grid.step * 256 / (steps if is_first else steps + 0.5)
            grid = dataclasses.replace(_grid(bits, value.nonnegative), step=step)
        return self._mover.moved(value, grid, f"{name}.input")

    def linear(self, layer: Linear, value: Value, output_bits: int) -> Value:
        """A layer and its activation; `value` is on its grid, the result has `output_bits`."""
        factor = 1
        if layer.container < WIDE:
            factor = CODES // (2**value.required_grid.bits - 1)
        source = self._mover.spread(value, factor)
        shape = self.graph.tensor(source).shape
        attributes, weights, target_shape = self._operator(layer, shape)
        axis = 3 if layer.kind == "depthwise" else 0
        scales = np.full(layer.width, _WEIGHT_SCALE)
        codes = self.graph.add_constant(
            f"{layer.name}.weight",
            weights,
            _CONTAINERS[layer.container],
            Quantization(scales, axis=axis),
        )
        zeros = np.zeros(layer.width, np.int32)
        bias = self.graph.add_bias(f"{layer.name}.bias", zeros, source, codes)
        applies_table = layer.activation == "hard_swish"
        bits = WIDE if applies_table else output_bits
        nonnegative = layer.activation in (*_FUSED, "hard_sigmoid")
        grid = _grid(bits, nonnegative)
        target = self._mover.destination(f"{layer.name}.out", target_shape, grid)
        self.graph.add_operation(layer.name, attributes, [source, codes, bias], [target])
        written = self._mover.written(target, grid, nonnegative)
        return self.hard_swish(layer.name, written, output_bits) if applies_table else written

    def hard_swish(self, name: str, value: Value, bits: int) -> Value:
        """DEQUANTIZE, HARD_SWISH and QUANTIZE, which XNNPACK makes one table."""
        value = self._mover.clamped(value)
        real = self.step(f"{name}.activation.input.float", Dequantize(), value.tensor)
        real = self.step(f"{name}.activation.result", HardSwish(), real)
        return self.written(f"{name}.activation", Quantize(), [real], _grid(bits, False))

    def squeeze_excite(self, name: str, value: Value, width: int, bits: int) -> Value:
        """MEAN, two 1x1 convolutions of 8 bits and MUL."""
        value = self._mover.clamped(value)
        channels = self.graph.tensor(value.tensor).shape[-1]
        pooled = self.mean(f"{name}.pool", value, WIDE, keep_dims=True)
        reduce = Linear(f"{name}.reduce", "pointwise", width, 1, 1, "relu", WIDE, WIDE)
        expand = Linear(f"{name}.expand", "pointwise", channels, 1, 1, "hard_sigmoid", WIDE, WIDE)
        gate = self.linear(expand, self.linear(reduce, pooled, WIDE), WIDE)
        grid = _grid(bits, value.nonnegative)
        return self.written(f"{name}.scale", Mul(), [value.tensor, gate.tensor], grid)

    def add(
        self, name: str, first: Value, second: Value, bits: int, activation: str = "linear"
    ) -> Value:
        """The sum of two tensors, with an activation function that is fused into it."""
        sources = [self._mover.clamped(value) for value in (first, second)]
        fused = _FUSED.get(activation, Activation.NONE)
        nonnegative = activation in _FUSED or all(source.nonnegative for source in sources)
        tensors = [source.tensor for source in sources]
        return self.written(name, Add(fused), tensors, _grid(bits, nonnegative))

    def max_pool(self, name: str, value: Value, window: int, stride: int, padding: str) -> Value:
        """The largest values of windows, on the grid of the input."""
        value = self._mover.clamped(value)
        _, *spatial, channels = self.graph.tensor(value.tensor).shape
        shape = (1, *(strided_size(side, window, stride, padding) for side in spatial), channels)
        pool = MaxPool2D((window, window), (stride, stride), Padding[padding.upper()])
        target = self._mover.destination(f"{name}.out", shape, value.required_grid)
        self.graph.add_operation(name, pool, [value.tensor], [target])
        return dataclasses.replace(value, tensor=target)

    def mean(self, name: str, value: Value, bits: int, *, keep_dims: bool = False) -> Value:
        """Global average pooling."""
        value = self._mover.clamped(value)
        channels = self.graph.tensor(value.tensor).shape[-1]
        shape = (1, 1, 1, channels) if keep_dims else (1, channels)
        grid = _grid(bits, value.nonnegative)
        return self.written(name, Mean(keep_dims), [value.tensor], grid, shape)

    def plain(self, node: Node, values: Sequence[Value], bits: int) -> Value:
        """A node without weights; see `write_plain`."""
        return write_plain(self, node, values, bits)

    @property
    def mover(self) -> GridMover:
        """What brings tensors of the graph onto grids."""
        return self._mover

    def grid(self, bits: int, nonnegative: bool) -> Grid:
        """A grid of a tensor."""
        return _grid(bits, nonnegative)

    def result(self, value: Value) -> None:
        """Makes a tensor a graph output."""
        self.graph.outputs.append(self._mover.clamped(value).tensor)

    def real_result(self, value: Value, name: str) -> None:
        """Makes the float32 values of a tensor a graph output."""
        tensor = self._mover.clamped(value).tensor
        self.graph.outputs.append(self.step(f"{name}.float", Dequantize(), tensor))

    def _operator(self, layer: Linear, shape):
        """(attributes, weight codes, shape of the output)."""
        attributes: Operator
        channels, size = shape[-1], layer.kernel_size
        strides, fused = (layer.stride, layer.stride), _FUSED.get(layer.activation, Activation.NONE)
        if layer.activation == "hard_sigmoid":
            fused = Activation.RELU_N1_TO_1
        if layer.kind == "dense":
            attributes = FullyConnected(fused)
            return attributes, self._codes(layer, (layer.width, channels)), (1, layer.width)
        extent, dilations = dilated_size(size, layer.dilation), (layer.dilation,) * 2
        spatial = tuple(
            strided_size(side, extent, layer.stride, layer.padding) for side in shape[1:3]
        )
        target, padding = (1, *spatial, layer.width), Padding[layer.padding.upper()]
        if layer.kind == "depthwise":
            attributes = DepthwiseConv2D(strides, padding, fused, dilations=dilations)
            return attributes, self._codes(layer, (1, size, size, channels)), target
        if layer.container < WIDE:
            attributes = FullyConnected(fused, keep_num_dims=True)
            return attributes, self._codes(layer, (layer.width, channels)), target
        attributes = Conv2D(strides, padding, fused, dilations)
        kernel = (layer.width, size, layer.kernel_width or size, channels // layer.groups)
        return attributes, self._codes(layer, kernel), target

    def _codes(self, layer: Linear, shape) -> np.ndarray:
        limit = 2 ** (layer.weight_bits - 1) - 1
        return self._rng.integers(-limit, limit + 1, shape)

    def written(
        self,
        name: str,
        attributes: Operator,
        sources: list[str],
        grid: Grid,
        shape: tuple[int, ...] | None = None,
    ) -> Value:
        """Adds an operator, whose result is on a grid; the shape is that of the first source."""
        shape = shape or self.graph.tensor(sources[0]).shape
        target = self._mover.destination(f"{name}.out", shape, grid)
        self.graph.add_operation(name, attributes, sources, [target])
        nonnegative = grid.zero_point == 0
        return self._mover.written(target, grid, nonnegative)

    def step(self, name: str, attributes: Operator, *sources: str) -> str:
        """Adds an operator on floats; returns its result, of the shape of the first source."""
        shape = self.graph.tensor(sources[0]).shape
        tensor = self.graph.add_tensor(name, shape, DataType.FLOAT32)
        self.graph.add_operation(name, attributes, list(sources), [tensor])
        return tensor


def layer_of_site(
    network: Network,
    site: Convolution,
    inputs: int,
    width: int,
    kernel_size: int,
    weight_bits: int,
) -> Linear:
    """The layer at a site.

    Args:
      network: Of the site.
      site: One of its sites.
      inputs: Input channels.
      width: Output channels.
      kernel_size: Of the kernel.
      weight_bits: At most 8.
    """
    return Linear(
        name=site.name,
        kind="dense" if network.is_vector(site.inputs[0]) else site.kind,
        width=width,
        kernel_size=kernel_size,
        stride=site.stride,
        activation=site.activation,
        weight_bits=weight_bits,
        container=container_bits(site.kind, inputs, weight_bits),
        padding=site.padding,
        kernel_width=site.kernel_width,
        groups=site.groups,
        dilation=site.dilation,
    )


def subnet_graph(
    space: SearchSpace, arch: Architecture, input_type: str = "uint8", seed: int = 0
) -> IntegerGraph:
    """The integer graph of a whole subnet.

    Args:
      space: Search space.
      arch: One of its architectures.
      input_type: "uint8" (what `apps/export.py` writes) or "float32".
      seed: Of the weights.
    """
    return _SubnetWriter(space.network, space.subnet(arch), input_type, seed).write()


class _SubnetWriter:
    """One subnet that is being written."""

    def __init__(self, network: Network, subnet: Subnet, input_type: str, seed: int):
        self._network = network
        self._subnet = subnet
        self._input_type = input_type
        self._writer = SubnetGraphWriter(seed)
        self._part_of_name = {part.node.name: part for part in subnet.nodes}
        self._values: dict[str, Value] = {}

    def write(self) -> IntegerGraph:
        """The whole graph."""
        for part in self._subnet.nodes:
            self._values[part.node.name] = self._written(part)
        for name in self._subnet.outputs:
            self._writer.real_result(self._values[name], name)
        return self._writer.graph

    def _written(self, part: SubnetNode) -> Value:
        """The result of a node, on the grid of the site that reads it."""
        node, writer = part.node, self._writer
        bits = self._output_bits(node.name)
        inputs = [self._values[name] for name in part.inputs]
        if self._fused_function(node) is not None:
            return inputs[0]  # the function behind it writes the sum
        if isinstance(node, Function):
            source = self._part_of_name[part.inputs[0]]
            if self._fused_function(source.node) is node:
                first, second = (self._values[name] for name in source.inputs)
                return writer.add(node.name, first, second, bits, node.activation)
        if isinstance(node, Image):
            return writer.image(part.size, part.width, self._input_type)
        if isinstance(node, Convolution):
            weight_bits, activation_bits = _wide(part.bits)
            value = inputs[0]
            if self._is_shared(part.inputs[0]):
                sites = [one for one in self._readers(part.inputs[0]) if one.bits is not None]
                is_first = sites[0] is part
                value = writer.read(value, node.name, activation_bits, is_first=is_first)
            sizes = (part.input_widths[0], part.width, part.kernel_size)
            layer = layer_of_site(self._network, node, *sizes, weight_bits)
            return writer.linear(layer, value, bits)
        if isinstance(node, SqueezeExcite):
            return writer.squeeze_excite(node.name, inputs[0], part.inner_width, bits)
        return writer.plain(node, inputs, bits)

    def _fused_function(self, node: Node) -> Function | None:
        """The activation function that becomes a part of a sum of two tensors."""
        readers = self._subnet.consumers(node.name)
        if not isinstance(node, Sum) or len(node.inputs) != 2 or len(readers) != 1:
            return None
        reader = readers[0].node
        return reader if isinstance(reader, Function) and reader.activation in _FUSED else None

    def _readers(self, name: str) -> tuple[SubnetNode, ...]:
        """What reads a tensor in the end; some nodes pass its grid on."""
        readers = self._subnet.consumers(name)
        if len(readers) == 1 and _passes_grid(readers[0].node):
            return self._readers(readers[0].node.name)
        return readers

    def _is_shared(self, name: str) -> bool:
        """Whether a tensor is on a grid of its own, and not on that of the one site behind it."""
        return len(self._readers(name)) > 1 or isinstance(self._network.node(name), Image)

    def _output_bits(self, name: str) -> int:
        """Of a tensor: those of the site that alone reads it; wide elsewhere."""
        readers = self._readers(name)
        if len(readers) != 1 or readers[0].bits is None:
            return WIDE
        return _wide(readers[0].bits)[1]


def _passes_grid(node: Node) -> bool:
    """Whether the result of a node is on the grid of what it reads."""
    if isinstance(node, Pooling | GlobalPooling):
        return node.reduction == "max"
    if isinstance(node, Upsampling):
        return node.interpolation == "nearest"
    return isinstance(node, PaddingNode | Flatten | Rescaling)


def _wide(pair: tuple[int, int] | None) -> tuple[int, int]:
    """Bits of a site on the device, where float ones are 8."""
    weight, activation = pair or (WIDE, WIDE)
    return min(weight, WIDE), min(activation, WIDE)


def _grid(bits: int, nonnegative: bool) -> Grid:
    zero_point = 0 if nonnegative else 2 ** (bits - 1)
    return Grid(_STEP * CODES / (2**bits - 1), zero_point, bits)
