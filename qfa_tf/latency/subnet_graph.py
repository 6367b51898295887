"""The integer graph of a subnet from its architecture alone, with random weights.

It has the operators, shapes and types that `QFASupernet.extract` and `tflite_tools.convert` give
the same architecture (tests compare them), so that its latency is that of the trained subnet;
training, calibration and TensorFlow's graphs are not needed. What it computes means nothing.
"""

import dataclasses

import numpy as np

from qfa_tf.cost.tflite_size import container_bits
from qfa_tf.space import Architecture, SearchSpace, Site
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.lowering.grids import Grid, GridMover, Value
from tflite_tools.operators.convolution import Conv2D, DepthwiseConv2D, FullyConnected
from tflite_tools.operators.elementwise import Add, Mul
from tflite_tools.operators.functions import HardSwish
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.pooling import Mean
from tflite_tools.operators.settings import Activation

CODES = 255
WIDE = 8
"""Bits of tensors that training leaves in float."""
DENSE_SITES = ("head.mix", "classifier")
"""Sites after the global pooling."""
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
    """

    name: str
    kind: str
    width: int
    kernel_size: int
    stride: int
    activation: str
    weight_bits: int
    container: int

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
        real = self._step("image.float", Dequantize(), source)
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

    def read(self, value: Value, name: str, bits: int) -> Value:
        """`value` on the grid of the layer `name`, for one that others read as well."""
        if value.grid is None:
            grid = _grid(bits, value.nonnegative)
        else:
            steps = 2 * round(128 * (2**bits - 1) / CODES) - 1  # an odd number of 256ths
            step = value.grid.step * 256 / steps
            grid = dataclasses.replace(_grid(bits, value.nonnegative), step=step)
        return self._mover.moved(value, grid, f"{name}.input")

    def linear(self, layer: Linear, value: Value, output_bits: int) -> Value:
        """A layer and its activation; `value` is on its grid, the result has `output_bits`."""
        factor = 1
        if layer.container < WIDE:
            factor = CODES // (2**value.grid.bits - 1)
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
        real = self._step(f"{name}.activation.input.float", Dequantize(), value.tensor)
        real = self._step(f"{name}.activation.result", HardSwish(), real)
        return self._written(f"{name}.activation", Quantize(), [real], _grid(bits, False))

    def squeeze_excite(self, name: str, value: Value, width: int, bits: int) -> Value:
        """MEAN, two 1x1 convolutions of 8 bits and MUL."""
        value = self._mover.clamped(value)
        channels = self.graph.tensor(value.tensor).shape[-1]
        pooled = self.mean(f"{name}.pool", value, WIDE, keep_dims=True)
        reduce = Linear(f"{name}.reduce", "pointwise", width, 1, 1, "relu", WIDE, WIDE)
        expand = Linear(f"{name}.expand", "pointwise", channels, 1, 1, "hard_sigmoid", WIDE, WIDE)
        gate = self.linear(expand, self.linear(reduce, pooled, WIDE), WIDE)
        grid = _grid(bits, value.nonnegative)
        return self._written(f"{name}.scale", Mul(), [value.tensor, gate.tensor], grid)

    def add(self, name: str, first: Value, second: Value, bits: int) -> Value:
        """The sum of two tensors."""
        sources = [self._mover.clamped(value) for value in (first, second)]
        nonnegative = all(source.nonnegative for source in sources)
        tensors = [source.tensor for source in sources]
        return self._written(name, Add(), tensors, _grid(bits, nonnegative))

    def mean(self, name: str, value: Value, bits: int, *, keep_dims: bool = False) -> Value:
        """Global average pooling."""
        value = self._mover.clamped(value)
        channels = self.graph.tensor(value.tensor).shape[-1]
        shape = (1, 1, 1, channels) if keep_dims else (1, channels)
        grid = _grid(bits, value.nonnegative)
        return self._written(name, Mean(keep_dims), [value.tensor], grid, shape)

    def result(self, value: Value) -> None:
        """Makes a tensor a graph output."""
        self.graph.outputs.append(self._mover.clamped(value).tensor)

    def real_result(self, value: Value, name: str) -> None:
        """Makes the float32 values of a tensor a graph output."""
        tensor = self._mover.clamped(value).tensor
        self.graph.outputs.append(self._step(f"{name}.float", Dequantize(), tensor))

    def _operator(self, layer: Linear, shape):
        """(attributes, weight codes, shape of the output)."""
        channels, size = shape[-1], layer.kernel_size
        strides, fused = (layer.stride, layer.stride), _FUSED.get(layer.activation, Activation.NONE)
        if layer.activation == "hard_sigmoid":
            fused = Activation.RELU_N1_TO_1
        if layer.kind == "dense":
            attributes = FullyConnected(fused)
            return attributes, self._codes(layer, (layer.width, channels)), (1, layer.width)
        spatial = tuple(-(-side // layer.stride) for side in shape[1:3])
        target = (1, *spatial, layer.width)
        if layer.kind == "depthwise":
            attributes = DepthwiseConv2D(strides, activation=fused)
            return attributes, self._codes(layer, (1, size, size, channels)), target
        if layer.container < WIDE:
            attributes = FullyConnected(fused, keep_num_dims=True)
            return attributes, self._codes(layer, (layer.width, channels)), target
        attributes = Conv2D(strides, activation=fused)
        return attributes, self._codes(layer, (layer.width, size, size, channels)), target

    def _codes(self, layer: Linear, shape) -> np.ndarray:
        limit = 2 ** (layer.weight_bits - 1) - 1
        return self._rng.integers(-limit, limit + 1, shape)

    def _written(self, name, attributes, sources, grid: Grid, shape=None) -> Value:
        shape = shape or self.graph.tensor(sources[0]).shape
        target = self._mover.destination(f"{name}.out", shape, grid)
        self.graph.add_operation(name, attributes, sources, [target])
        nonnegative = grid.zero_point == 0
        return self._mover.written(target, grid, nonnegative)

    def _step(self, name: str, attributes, source: str) -> str:
        shape = self.graph.tensor(source).shape
        tensor = self.graph.add_tensor(name, shape, DataType.FLOAT32)
        self.graph.add_operation(name, attributes, [source], [tensor])
        return tensor


def layer_of_site(
    space: SearchSpace, site: Site, width: int, inputs: int, weight_bits: int, kernel_size: int
) -> Linear:
    """The layer at a site.

    Args:
      space: Search space.
      site: One of its sites.
      width: Output channels.
      inputs: Input channels.
      weight_bits: At most 8.
      kernel_size: Of the block, for depthwise sites.
    """
    stride, activation = 1, "linear"
    if site.name == "stem":
        stride, kernel_size = space.stem.stride, space.stem.kernel_size
        activation = space.stem.activation
    elif site.stage is not None:
        if not site.name.endswith(".project"):
            activation = space.stages[site.stage].activation
        if site.kind == "depthwise":
            stride = space.block_stride(site.stage, site.block)
    elif site.name != "classifier":
        activation = space.head.activation
    if site.kind not in ("depthwise", "convolution"):
        kernel_size = 1
    kind = "dense" if site.stage is None and site.name in DENSE_SITES else site.kind
    container = container_bits(site, inputs, weight_bits)
    return Linear(site.name, kind, width, kernel_size, stride, activation, weight_bits, container)


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
    return _Subnet(space, arch, input_type, seed).write()


class _Subnet:
    """One architecture that is being written."""

    def __init__(self, space: SearchSpace, arch: Architecture, input_type: str, seed: int):
        self._space = space
        self._arch = arch
        self._input_type = input_type
        self._writer = SubnetGraphWriter(seed)
        self._sites = {site.name: site for site in space.sites}
        pairs = arch.site_bits.items()
        self._bits = {name: tuple(min(value, WIDE) for value in pair) for name, pair in pairs}

    def write(self) -> IntegerGraph:
        space, writer = self._space, self._writer
        image = writer.image(self._arch.resolution, space.input_channels, self._input_type)
        first = self._blocks()[0][0]
        value = writer.read(image, "stem", self._bits["stem"][1])
        value = self._site("stem", value, space.stem.width, self._input_bits(first))
        for number, (prefix, block) in enumerate(self._blocks()):
            value = self._block(prefix, block, value, self._next(number))
        value = self._site("head.expand", value, space.head.expand_width, WIDE)
        after_pool = "head.mix" if "head.mix" in self._bits else "classifier"
        value = writer.mean("head.pool", value, self._bits[after_pool][1])
        if after_pool == "head.mix":
            value = self._site("head.mix", value, space.head.mix_width, self._bits["classifier"][1])
        value = self._site("classifier", value, space.num_classes, WIDE)
        writer.real_result(value, "classifier")
        return writer.graph

    def _block(self, prefix, block, value, output_bits):
        s, b = _place(prefix)
        space, writer, shared = self._space, self._writer, value
        width = space.mid_width(s, b, block.expand_ratio)
        first = self._first(prefix)
        if space.has_residual(s, b):
            value = writer.read(value, first, self._bits[first][1])
        if first.endswith(".expand"):
            value = self._site(first, value, width, self._bits[f"{prefix}.depthwise"][1])
        reader_bits = self._bits[f"{prefix}.project"][1]
        has_excite = space.stages[s].squeeze_excite
        value = self._site(
            f"{prefix}.depthwise",
            value,
            width,
            WIDE if has_excite else reader_bits,
            block.kernel_size,
        )
        if has_excite:
            squeezed = space.squeeze_width(width)
            value = writer.squeeze_excite(f"{prefix}.se", value, squeezed, reader_bits)
        has_residual = space.has_residual(s, b)
        bits = WIDE if has_residual else output_bits
        value = self._site(f"{prefix}.project", value, space.stages[s].width, bits)
        return writer.add(f"{prefix}.sum", value, shared, output_bits) if has_residual else value

    def _site(self, name, value, width, output_bits, kernel_size=1):
        inputs = self._writer.graph.tensor(value.tensor).shape[-1]
        layer = layer_of_site(
            self._space, self._sites[name], width, inputs, self._bits[name][0], kernel_size
        )
        return self._writer.linear(layer, value, output_bits)

    def _blocks(self):
        return [
            (f"s{s}.b{b}", block)
            for s, stage in enumerate(self._arch.stages)
            for b, block in enumerate(stage)
        ]

    def _next(self, number: int) -> int:
        """Bits of the input of what follows a block."""
        blocks = self._blocks()
        if number + 1 < len(blocks):
            return self._input_bits(blocks[number + 1][0])
        return self._bits["head.expand"][1]

    def _first(self, prefix: str) -> str:
        expand = f"{prefix}.expand"
        return expand if expand in self._bits else f"{prefix}.depthwise"

    def _input_bits(self, prefix: str) -> int:
        """Of the tensor that a block reads: wide when its sum reads it as well."""
        if self._space.has_residual(*_place(prefix)):
            return WIDE
        return self._bits[self._first(prefix)][1]


def _place(prefix: str) -> tuple[int, int]:
    s, b = (int(part[1:]) for part in prefix.split("."))
    return s, b


def _grid(bits: int, nonnegative: bool) -> Grid:
    zero_point = 0 if nonnegative else 2 ** (bits - 1)
    return Grid(_STEP * CODES / (2**bits - 1), zero_point, bits)
