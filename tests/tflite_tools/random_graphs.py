"""Random integer graphs for the tests: one operator each, and a whole residual network."""

import numpy as np

from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.operators.convolution import Conv2D, DepthwiseConv2D, FullyConnected
from tflite_tools.operators.elementwise import Add, Mul
from tflite_tools.operators.functions import HardSwish, Logistic, Softmax
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.pooling import AveragePool2D, MaxPool2D, Mean
from tflite_tools.operators.settings import Activation, Padding
from tflite_tools.operators.shaping import Concatenation, Pad, Reshape

ACTIVATIONS = tuple(Activation)
WEIGHT_LIMITS = {DataType.INT8: (-127, 127), DataType.INT4: (-8, 7), DataType.INT2: (-2, 1)}


class GraphBuilder:
    """Appends operations with random weights; `ties` asks for power-of-two scales."""

    def __init__(self, seed: int, *, ties: bool = False):
        self.rng = np.random.default_rng(seed)
        self.ties = ties
        self.graph = IntegerGraph()

    def scale(self, near: float) -> np.float32:
        """A random scale of the order of `near`; a power of two when ties are wanted."""
        if self.ties:
            return np.float32(2.0 ** np.round(np.log2(near)))
        return np.float32(near * self.rng.uniform(0.7, 1.4))

    def zero_point(self, limit: int = 128) -> int:
        return int(self.rng.integers(-limit, limit))

    def quantization(self, near: float) -> Quantization:
        return Quantization(self.scale(near), self.zero_point())

    def input(self, shape, dtype=DataType.INT8, near: float = 0.05) -> str:
        quantization = self.quantization(near) if dtype is DataType.INT8 else None
        if dtype is DataType.INT16:
            quantization = Quantization(self.scale(near / 256))
        name = f"input_{len(self.graph.inputs)}"
        return self.graph.add_input(name, (1, *shape), dtype, quantization)

    def finish(self, *outputs: str) -> IntegerGraph:
        self.graph.outputs.extend(outputs)
        return self.graph

    def operation(self, attributes, inputs, quantization=None, dtype=DataType.INT8, shape=()):
        """Appends an operation and its output tensor; returns the tensor's name."""
        name = f"{attributes.kind.lower()}_{len(self.graph.operations)}"
        shapes = [self.graph.tensor(tensor).shape for tensor in inputs]
        shape = attributes.output_shape(shapes, shape)
        output = self.graph.add_tensor(name, shape, dtype, quantization)
        self.graph.add_operation(f"op_{name}", attributes, inputs, [output])
        return output

    def linear(
        self,
        attributes,
        x,
        weight_shape,
        weight_type=DataType.INT8,
        quantization=None,
        bias_type=DataType.INT32,
    ) -> str:
        """Appends a linear operator whose output fills the range of its type, that of `x`."""
        axis = 3 if isinstance(attributes, DepthwiseConv2D) else 0
        channels = weight_shape[axis]
        low, high = WEIGHT_LIMITS[weight_type]
        codes = self.rng.integers(low, high + 1, weight_shape)
        bias = self.rng.integers(-40 * high, 40 * high + 1, channels)
        prefix = f"layer_{len(self.graph.operations)}"
        if self.ties:
            scales = 2.0 ** self.rng.integers(-8, -4, channels)
        else:
            scales = self.rng.uniform(0.004, 0.03, channels)
        w = self.graph.add_constant(
            f"{prefix}/weights", codes, weight_type, Quantization(scales, 0, axis)
        )
        b = self.graph.add_bias(f"{prefix}/bias", bias, x, w, bias_type)
        dtype = self.graph.tensor(x).dtype
        fan_in = codes.size / channels
        if dtype is DataType.INT16:
            step = self.graph.tensor(x).quantization.scale * 0.012 * high * np.sqrt(fan_in) / 2
            return self.operation(attributes, [x, w, b], Quantization(self.scale(step)), dtype)
        if quantization is None:
            step = self.graph.tensor(x).quantization.scale * 0.012
            quantization = self.quantization(step * high * 74 * np.sqrt(fan_in) / 150)
        return self.operation(attributes, [x, w, b], quantization)

    def float_linear(self, attributes, x, weight_shape, weight_type=DataType.FLOAT32) -> str:
        """Appends a linear operator on float tensors."""
        channels = weight_shape[3 if isinstance(attributes, DepthwiseConv2D) else 0]
        constants = {
            "weights": self.rng.normal(0, 0.3, weight_shape).astype(str(weight_type)),
            "bias": self.rng.normal(0, 1, channels).astype(np.float32),
        }
        types = (weight_type, DataType.FLOAT32)
        names = [
            self.graph.add_constant(f"layer_{len(self.graph.operations)}/{name}", values, dtype)
            for (name, values), dtype in zip(constants.items(), types, strict=True)
        ]
        return self.operation(attributes, [x, *names], dtype=DataType.FLOAT32)

    def inputs_for(self, batch: int) -> list[np.ndarray]:
        """Random values for the graph inputs, `batch` images."""
        arrays = []
        for name in self.graph.inputs:
            tensor = self.graph.tensor(name)
            shape = (batch, *tensor.shape[1:])
            if tensor.dtype is DataType.FLOAT32:
                arrays.append(self._half_steps(name, shape))
            elif tensor.dtype is DataType.UINT8:
                arrays.append(self.rng.integers(0, 256, shape).astype(np.uint8))
            elif tensor.dtype is DataType.INT16:
                arrays.append(self.rng.integers(-(2**15), 2**15, shape).astype(np.int16))
            else:
                arrays.append(self.rng.integers(-128, 128, shape).astype(np.int8))
        return arrays

    def _half_steps(self, name, shape) -> np.ndarray:
        """Floats at and beside the ties of the QUANTIZE that reads input `name`."""
        reader = next(item for item in self.graph.operations if name in item.inputs)
        quantization = self.graph.tensor(reader.outputs[0]).quantization
        step = np.float32(0.02) if quantization is None else quantization.scale
        codes = self.rng.integers(-300, 300, shape) * 0.5 + self.rng.normal(0, 1e-7, shape)
        return codes.astype(np.float32) * step


def _choose(builder, options):
    return options[int(builder.rng.integers(len(options)))]


def _image(builder, channels=None):
    height, width = builder.rng.integers(3, 10, 2)
    return int(height), int(width), channels or int(builder.rng.integers(1, 40))


def conv_2d(builder, weight_type=DataType.INT8, dtype=DataType.INT8, bias_type=DataType.INT32):
    x = builder.input(_image(builder), dtype)
    kernel = tuple(int(size) for size in builder.rng.integers(1, 4, 2))
    channels = builder.graph.tensor(x).shape[-1]
    attributes = Conv2D(
        tuple(builder.rng.integers(1, 3, 2)),
        _choose(builder, tuple(Padding)),
        _choose(builder, ACTIVATIONS),
    )
    shape = (int(builder.rng.integers(1, 40)), *kernel, channels)
    if dtype is DataType.FLOAT32:
        return builder.float_linear(attributes, x, shape, weight_type)
    return builder.linear(attributes, x, shape, weight_type, bias_type=bias_type)


def depthwise_conv_2d(
    builder,
    weight_type=DataType.INT8,
    multiplier=1,
    dtype=DataType.INT8,
    bias_type=DataType.INT32,
    left_to_builtin=False,
):
    x = builder.input(_image(builder), dtype)
    kernel = tuple(int(size) for size in builder.rng.integers(1, 4, 2))
    channels = builder.graph.tensor(x).shape[-1]
    attributes = DepthwiseConv2D(
        tuple(builder.rng.integers(1, 3, 2)),
        _choose(builder, tuple(Padding)),
        _choose(builder, ACTIVATIONS),
        multiplier,
        left_to_builtin=left_to_builtin,
    )
    shape = (1, *kernel, channels * multiplier)
    if dtype is DataType.FLOAT32:
        return builder.float_linear(attributes, x, shape, weight_type)
    return builder.linear(attributes, x, shape, weight_type, bias_type=bias_type)


def fully_connected(
    builder,
    weight_type=DataType.INT8,
    multiple=1,
    keep_num_dims=True,
    dtype=DataType.INT8,
    bias_type=DataType.INT32,
):
    inputs = multiple * int(builder.rng.integers(1, 12))
    image = _image(builder, inputs) if keep_num_dims else (inputs,)
    x = builder.input(image, dtype)
    attributes = FullyConnected(_choose(builder, ACTIVATIONS), keep_num_dims)
    shape = (int(builder.rng.integers(1, 40)), inputs)
    if dtype is DataType.FLOAT32:
        return builder.float_linear(attributes, x, shape, weight_type)
    return builder.linear(attributes, x, shape, weight_type, bias_type=bias_type)


def add(builder):
    shape = _image(builder)
    scale = 0.05
    left = builder.input(shape, near=scale)
    right = builder.input(shape, near=scale * 2.0 ** builder.rng.integers(-3, 4))
    quantization = builder.quantization(scale * 2.0 ** builder.rng.integers(-1, 3))
    return builder.operation(Add(_choose(builder, ACTIVATIONS)), [left, right], quantization)


def mul(builder, broadcast=()):
    """MUL; the axes in `broadcast` (1 height, 2 width) have size 1 in the second input."""
    shape = _image(builder)
    left = builder.input(shape)
    other = [1 if axis in broadcast else size for axis, size in enumerate(shape, 1)]
    right = builder.input(other, near=0.004)
    quantization = builder.quantization(0.02 * 2.0 ** builder.rng.integers(-1, 3))
    return builder.operation(Mul(_choose(builder, ACTIVATIONS)), [left, right], quantization)


def pointwise(builder, *functions):
    """Float functions between DEQUANTIZE and QUANTIZE."""
    x = builder.operation(Dequantize(), [builder.input(_image(builder))], dtype=DataType.FLOAT32)
    for function in functions:
        x = builder.operation(function, [x], dtype=DataType.FLOAT32)
    return builder.operation(Quantize(), [x], builder.quantization(0.04))


def swish(builder):
    """x * LOGISTIC(x), in float."""
    x = builder.operation(Dequantize(), [builder.input(_image(builder))], dtype=DataType.FLOAT32)
    gate = builder.operation(Logistic(), [x], dtype=DataType.FLOAT32)
    x = builder.operation(Mul(), [x, gate], dtype=DataType.FLOAT32)
    return builder.operation(Quantize(), [x], builder.quantization(0.04))


def rescaled_image(builder):
    """Bytes of an image, times and plus a constant, quantized."""
    graph = builder.graph
    x = graph.add_input("bytes", (1, *_image(builder)), DataType.UINT8, Quantization(1.0))
    x = builder.operation(Dequantize(), [x], dtype=DataType.FLOAT32)
    for attributes in (Mul(), Add(_choose(builder, ACTIVATIONS))):
        value = builder.rng.normal(size=1).astype(np.float32) / (1, 60)[attributes == Mul()]
        name = f"constant_{attributes.kind}"
        constant = graph.add_constant(name, value.astype(np.float32), DataType.FLOAT32)
        x = builder.operation(attributes, [x, constant], dtype=DataType.FLOAT32)
    return builder.operation(Quantize(), [x], builder.quantization(0.02))


def concatenation(builder, axis=3):
    first = builder.input(_image(builder))
    tensor = builder.graph.tensor(first)
    names = [first]
    for number in range(int(builder.rng.integers(1, 4))):
        shape = list(tensor.shape)
        shape[axis] = int(builder.rng.integers(1, 9))
        names.append(
            builder.graph.add_input(f"part_{number}", shape, tensor.dtype, tensor.quantization)
        )
    return builder.operation(Concatenation(axis), names, tensor.quantization)


def mean(builder, keep_dims=True):
    x = builder.input(_image(builder))
    return builder.operation(Mean(keep_dims), [x], builder.quantization(0.03))


def pool(builder, kind, dtype=DataType.INT8):
    x = builder.input(_image(builder), dtype)
    attributes = kind(
        tuple(builder.rng.integers(1, 4, 2)),
        tuple(builder.rng.integers(1, 4, 2)),
        _choose(builder, tuple(Padding)),
        _choose(builder, ACTIVATIONS),
    )
    return builder.operation(attributes, [x], builder.graph.tensor(x).quantization, dtype)


def reshape(builder, dtype=DataType.INT8):
    x = builder.input(_image(builder), dtype)
    tensor = builder.graph.tensor(x)
    flat = (1, int(np.prod(tensor.shape)))
    return builder.operation(Reshape(), [x], tensor.quantization, dtype, flat)


def pad(builder, dtype=DataType.INT8):
    x = builder.input(_image(builder), dtype)
    sides = tuple(builder.rng.integers(0, 3, 2)), tuple(builder.rng.integers(0, 3, 2))
    return builder.operation(Pad(*sides), [x], builder.graph.tensor(x).quantization, dtype)


def quantize_int8(builder):
    x = builder.input(_image(builder))
    near = 0.05 * 2.0 ** builder.rng.integers(-4, 4)
    return builder.operation(Quantize(), [x], builder.quantization(near))


def quantize_float(builder):
    x = builder.input(_image(builder), DataType.FLOAT32)
    return builder.operation(Quantize(), [x], builder.quantization(0.05))


def dequantize(builder, dtype=DataType.INT8):
    x = builder.input(_image(builder), dtype)
    return builder.operation(Dequantize(), [x], dtype=DataType.FLOAT32)


def quantize_int16(builder):
    x = builder.input(_image(builder), DataType.FLOAT32)
    quantization = Quantization(builder.scale(0.0002))
    return builder.operation(Quantize(), [x], quantization, DataType.INT16)


def float_island(builder, weight_type=DataType.FLOAT32):
    """A float convolution between integer tensors."""
    x = builder.input(_image(builder, 6))
    x = builder.operation(Dequantize(), [x], dtype=DataType.FLOAT32)
    x = builder.float_linear(Conv2D(activation=Activation.RELU), x, (9, 3, 3, 6), weight_type)
    return builder.operation(Quantize(), [x], builder.quantization(0.03))


def dequantize_quantize(builder):
    """QUANTIZE at any scale ratio, through float32."""
    x = builder.input(_image(builder))
    real = builder.operation(Dequantize(), [x], dtype=DataType.FLOAT32)
    near = 0.05 * 2.0 ** builder.rng.integers(-9, 10)
    return builder.operation(Quantize(), [real], builder.quantization(near))


INT16, INT64, FLOAT16 = {"dtype": DataType.INT16}, {"bias_type": DataType.INT64}, DataType.FLOAT16
FLOAT = {"dtype": DataType.FLOAT32}

#: One-operator graphs by name: fills a builder and returns the output's name.
SINGLE_OPERATIONS = {
    "conv_2d int8": conv_2d,
    "conv_2d int4": lambda builder: conv_2d(builder, DataType.INT4),
    "depthwise_conv_2d int8": depthwise_conv_2d,
    "depthwise_conv_2d int4": lambda builder: depthwise_conv_2d(builder, DataType.INT4),
    "depthwise_conv_2d left to built-in kernels": lambda builder: depthwise_conv_2d(
        builder, left_to_builtin=True
    ),
    "depthwise_conv_2d multiplier": lambda builder: depthwise_conv_2d(builder, multiplier=3),
    "fully_connected int8": fully_connected,
    "fully_connected int8 flat": lambda builder: fully_connected(builder, keep_num_dims=False),
    "fully_connected int4": lambda builder: fully_connected(builder, DataType.INT4, 2),
    "fully_connected int4 fallback": lambda builder: fully_connected(builder, DataType.INT4, 1),
    "fully_connected int4 flat": lambda builder: fully_connected(builder, DataType.INT4, 2, False),
    "fully_connected int2": lambda builder: fully_connected(builder, DataType.INT2, 4),
    "fully_connected int2 fallback": lambda builder: fully_connected(builder, DataType.INT2, 1),
    "add": add,
    "mul": mul,
    "mul by channels": lambda builder: mul(builder, (1, 2)),
    "mul by rows": lambda builder: mul(builder, (2,)),
    "hard_swish": lambda builder: pointwise(builder, HardSwish()),
    "logistic": lambda builder: pointwise(builder, Logistic()),
    "softmax": lambda builder: pointwise(builder, Softmax()),
    "swish": swish,
    "rescaled image": rescaled_image,
    "concatenation": concatenation,
    "concatenation of rows": lambda builder: concatenation(builder, 1),
    "mean": mean,
    "mean flat": lambda builder: mean(builder, keep_dims=False),
    "max_pool_2d": lambda builder: pool(builder, MaxPool2D),
    "average_pool_2d": lambda builder: pool(builder, AveragePool2D),
    "reshape": reshape,
    "pad": pad,
    "quantize int8": quantize_int8,
    "quantize float": quantize_float,
    "dequantize": dequantize,
    "dequantize quantize": dequantize_quantize,
    "conv_2d int16": lambda builder: conv_2d(builder, **INT16, **INT64),
    "conv_2d int16, narrow bias": lambda builder: conv_2d(builder, **INT16),
    "depthwise_conv_2d int16": lambda builder: depthwise_conv_2d(builder, **INT16, **INT64),
    "fully_connected int16": lambda builder: fully_connected(builder, **INT16, **INT64),
    "fully_connected int16, narrow bias": lambda builder: fully_connected(builder, **INT16),
    "quantize int16": quantize_int16,
    "dequantize int16": lambda builder: dequantize(builder, **INT16),
    "conv_2d float32": lambda builder: conv_2d(builder, DataType.FLOAT32, **FLOAT),
    "conv_2d float16": lambda builder: conv_2d(builder, FLOAT16, **FLOAT),
    "depthwise_conv_2d float32": lambda builder: depthwise_conv_2d(
        builder, DataType.FLOAT32, **FLOAT
    ),
    "depthwise_conv_2d float16": lambda builder: depthwise_conv_2d(builder, FLOAT16, 2, **FLOAT),
    "fully_connected float32": lambda builder: fully_connected(builder, DataType.FLOAT32, **FLOAT),
    "fully_connected float16": lambda builder: fully_connected(builder, FLOAT16, **FLOAT),
    "max_pool_2d float": lambda builder: pool(builder, MaxPool2D, **FLOAT),
    "reshape float": lambda builder: reshape(builder, **FLOAT),
    "pad float": lambda builder: pad(builder, **FLOAT),
    "float island": float_island,
    "float16 island": lambda builder: float_island(builder, FLOAT16),
}


def residual_network(builder, low_bit_type=DataType.INT4, blocks=2):
    """A delegable classifier: stem, inverted residuals with low-bit 1x1 layers, head.

    Float image in, float logits out. 1x1 layers are FULLY_CONNECTED; activations inside a block
    carry 4-bit codes (fused RELU as lower clamp).
    """
    image = builder.input((12, 12, 3), DataType.FLOAT32)
    x = builder.operation(Quantize(), [image], Quantization(0.03, -3))
    x = builder.linear(Conv2D((2, 2), activation=Activation.RELU), x, (16, 3, 3, 3))
    for _ in range(blocks):
        pointwise = FullyConnected(Activation.RELU, keep_num_dims=True)
        y = builder.linear(pointwise, x, (24, 16), low_bit_type, Quantization(0.4, 112))
        y = builder.linear(
            DepthwiseConv2D(activation=Activation.RELU6), y, (1, 3, 3, 24),
            quantization=Quantization(6 / 255, -128),
        )  # fmt: skip
        y = builder.linear(FullyConnected(keep_num_dims=True), y, (16, 24), low_bit_type)
        x = builder.operation(Add(), [x, y], builder.quantization(0.2))
    x = builder.operation(Mean(keep_dims=False), [x], builder.quantization(0.1))
    x = builder.linear(FullyConnected(), x, (10, 16))
    return builder.operation(Dequantize(), [x], dtype=DataType.FLOAT32)
