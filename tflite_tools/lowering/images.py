"""How an image enters a graph: where its bytes are codes already, in no operator; else in one.

One QUANTIZE for INT8 images. XNNPACK does not take it for UINT8 ones, where it costs more than the
table that it makes of DEQUANTIZE and QUANTIZE (benchmarks/image_input.py). Channels that differ
are scaled by a depthwise 1x1 convolution of integers.

The bytes 0 to 255 are few: whether an operator gives the codes that Keras gives is not argued but
tried, on all of them, with the arithmetic of the kernels that the file is made for. Where none
does, an image goes through floats, as Keras computes it.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role, function_of
from quantize_configs.model_graph import LayerCall, ModelGraph
from quantize_configs.tensor_grids import written_grid
from tflite_tools.arithmetic.kernel_sets import KernelSet, kernels_of
from tflite_tools.arithmetic.node import Node
from tflite_tools.flatbuffer.conversion_keys import PIXELS_KEY
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.lowering.context import Lowering
from tflite_tools.lowering.grids import INT8_TOP, Grid, Value
from tflite_tools.lowering.options import ConversionOptions
from tflite_tools.operators.convolution import DepthwiseConv2D
from tflite_tools.operators.elementwise import Add
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.operator import Arithmetic
from tflite_tools.support import table as support

TYPES = {"uint8": DataType.UINT8, "int8": DataType.INT8}
BYTES = 256
_WHOLE = 1e-3
"""How far from a whole number a byte that stands for zero may be."""
_LARGEST_CODE = 127


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Real values of the bytes of an image: byte * scale + offset, each a number or [channels]."""

    scale: float | np.ndarray
    offset: float | np.ndarray = 0.0

    def then(self, rescaling: keras.layers.Rescaling) -> "Pixels":
        """What a Rescaling makes of them."""
        scale, offset = (
            np.squeeze(np.asarray(value, np.float64))
            for value in (rescaling.scale, rescaling.offset)
        )
        return Pixels(self.scale * scale, self.offset * scale + offset)

    @property
    def is_scalar(self) -> bool:
        """Whether all channels have one scale and one offset."""
        return np.ndim(self.scale) == np.ndim(self.offset) == 0

    @property
    def zero(self) -> int | None:
        """The byte that stands for zero; None where none does, or channels differ."""
        if not self.is_scalar or self.scale <= 0:
            return None
        zero = -float(self.offset) / float(self.scale)
        return round(zero) if abs(zero - round(zero)) <= _WHOLE and 0 <= zero < BYTES else None

    def values(self) -> np.ndarray:
        """float32 of all bytes, [1, 256, 1, channels], as Keras computes them."""
        codes = np.arange(BYTES, dtype=np.float32).reshape(1, BYTES, 1, 1)
        return codes * np.float32(self.scale) + np.float32(self.offset)


def is_rescaling(call: LayerCall) -> bool:
    """Whether a call turns the bytes of an image into what the model reads."""
    return call.role is Role.POINTWISE and function_of(call.layer) == "rescaling"


def pixels_of(graph: ModelGraph, options: ConversionOptions, name: str) -> Pixels | None:
    """What the bytes of an image are at an input of the Keras model; None where it takes none.

    The range of the options, or the bytes themselves for a model that begins with a Rescaling.
    """
    if options.input_type == "float32":
        return None
    if options.pixels is not None:
        return Pixels(*options.pixels)
    reader = graph.sole_reader(name)
    return Pixels(1.0) if reader is not None and is_rescaling(reader) else None


def lower_image(
    lowering: Lowering, call: LayerCall, shape: tuple[int, ...], pixels: Pixels
) -> None:
    """Adds an image as input of the graph, and what its readers read."""
    dtype = TYPES[lowering.options.input_type]
    told = lowering.graph.metadata.setdefault(PIXELS_KEY, {})
    told[call.name] = [float(pixels.scale), float(pixels.offset)]
    names, read, given = [call.name], pixels, pixels.values()
    rescaling = lowering.wrapped.graph.sole_reader(call.name)
    if rescaling is not None and is_rescaling(rescaling):
        read = pixels.then(rescaling.layer)
        scale, offset = (
            np.squeeze(np.asarray(value, np.float32))
            for value in (rescaling.layer.scale, rescaling.layer.offset)
        )
        given = given * scale + offset
        names.append(rescaling.name)
    written = written_grid(lowering.wrapped, names[-1])
    if written is not None:
        grid, same = written
        runtime, _ = kernels_of(lowering.options.runtime)
        image = _Image(call.name, shape, dtype, read, given, Grid(*grid), runtime)
        if (added := image.added(lowering.graph)) is not None:
            value = Value(added[0], image.grid, bool(given.min() >= 0), added[1])
            lowering.register([*names, *same], value)
            return
    lowering.values[call.name] = _in_float(lowering, call.name, shape, dtype, pixels)


@dataclasses.dataclass(frozen=True)
class _Image:
    """An image on its way to a grid.

    Attributes:
      name: Of the input.
      shape: With batch 1.
      dtype: UINT8, or INT8 for bytes minus 128.
      pixels: Real values of its bytes.
      given: The same in float32, [1, 256, 1, channels or 1].
      grid: That the first layer reads.
      runtime: Kernels that the file is made for.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DataType
    pixels: Pixels
    given: np.ndarray
    grid: Grid
    runtime: KernelSet

    @property
    def codes(self) -> np.ndarray:
        """What the bytes become on the grid of Keras, as codes of the INT8 tensor."""
        step = np.float32(self.grid.step)
        codes = np.rint(self.given * (np.float32(1) / step)) + self.grid.zero_point
        top = 2**self.grid.bits - 1
        return (np.clip(codes, 0, top) + (INT8_TOP - top)).astype(np.int16)

    def added(self, graph: IntegerGraph) -> tuple[str, bool] | None:
        """Adds the fewest operators that give the codes of Keras.

        Returns:
          The tensor on the grid, and whether no code is below the lowest of the grid; None where
          none of the forms gives the codes.
        """
        if self.grid.is_wide:
            return None
        if self.dtype is DataType.INT8 and np.array_equal(self.codes, _all_bytes(self.dtype)):
            name = graph.add_input(self.name, self.shape, self.dtype, self.grid.quantization)
            return name, True
        lowest = INT8_TOP - (2**self.grid.bits - 1)
        for form in self._forms:
            found = self._tried(form)
            if np.array_equal(np.maximum(found, lowest), np.broadcast_to(self.codes, found.shape)):
                return form(self, graph), bool(found.min() >= lowest)
        return None

    @property
    def _forms(self) -> "tuple[Form, ...]":
        """Those that can be tried, the best one first."""
        if self.pixels.zero is None:
            return () if self.pixels.is_scalar else (_scaled_channels,)
        by_quantize = self.dtype is DataType.INT8 or self.runtime is not KernelSet.XNNPACK
        return (_quantized, _by_table) if by_quantize else (_by_table,)

    def _tried(self, form: "Form") -> np.ndarray:
        """The codes that a form makes of all bytes, [1, 256, 1, channels or 1]."""
        trial = IntegerGraph()
        channels = self.shape[-1] if self.given.shape[-1] > 1 else 1
        shape = (1, BYTES, 1, channels)
        target = form(dataclasses.replace(self, shape=shape), trial)
        given = np.broadcast_to(_all_bytes(self.dtype), shape)
        return _computed(trial, given, self.runtime)[target].astype(np.int16)


Form = Callable[[_Image, IntegerGraph], str]
"""Adds an image and what brings it onto the grid; returns the tensor on the grid."""


def _all_bytes(dtype: DataType) -> np.ndarray:
    codes = np.arange(BYTES) + dtype.limits[0]
    return codes.astype(dtype.numpy_type).reshape(1, BYTES, 1, 1)


def _computed(
    graph: IntegerGraph, given: np.ndarray, kernel_set: KernelSet
) -> dict[str, np.ndarray]:
    """All tensors of a graph of one input, by the arithmetic of a kernel set."""
    values = {graph.inputs[0]: given}
    for operation in graph.operations:
        tensors = tuple(map(graph.tensor, operation.inputs))
        arrays = tuple(one.codes if one.is_constant else values[one.name] for one in tensors)
        output = graph.tensor(operation.outputs[0])
        kernels = operation.attributes.kernels[Arithmetic.of(tensors[0], output)]
        is_taken = support.check_operation(graph, operation).delegated
        falls_back = kernel_set is KernelSet.XNNPACK and not is_taken
        kernel = kernels[KernelSet.BUILTIN if falls_back else kernel_set]
        values[output.name] = kernel(Node(operation.attributes, tensors, arrays, output))
    return values


def _source(image: _Image, graph: IntegerGraph) -> str:
    """The input, whose grid says what its bytes stand for."""
    zero = image.pixels.zero
    assert zero is not None
    quantization = Quantization(np.float32(image.pixels.scale), zero + image.dtype.limits[0])
    return graph.add_input(image.name, image.shape, image.dtype, quantization)


def _target(image: _Image, graph: IntegerGraph) -> str:
    name = f"{image.name}.codes"
    return graph.add_tensor(name, image.shape, DataType.INT8, image.grid.quantization)


def _quantized(image: _Image, graph: IntegerGraph) -> str:
    """One QUANTIZE from bytes to codes."""
    source, target = _source(image, graph), _target(image, graph)
    graph.add_operation(target, Quantize(), [source], [target])
    return target


def _by_table(image: _Image, graph: IntegerGraph) -> str:
    """DEQUANTIZE and QUANTIZE, which XNNPACK makes one table."""
    return _through_floats(image, graph, _target(image, graph))


def _shifted(image: _Image, graph: IntegerGraph) -> str:
    """The bytes as they are, minus 128, as INT8."""
    name = f"{image.name}.bytes"
    graph.add_tensor(name, image.shape, DataType.INT8, image.grid.quantization)
    return _through_floats(image, graph, name)


def _through_floats(image: _Image, graph: IntegerGraph, target: str) -> str:
    source = _source(image, graph)
    real = graph.add_tensor(f"{image.name}.float", image.shape, DataType.FLOAT32)
    graph.add_operation(real, Dequantize(), [source], [real])
    graph.add_operation(target, Quantize(), [real], [target])
    return target


def _scaled_channels(image: _Image, graph: IntegerGraph) -> str:
    """A depthwise 1x1 convolution: byte * scale + offset, with integers, each channel its own.

    Bytes that are not INT8 become so by a table that only shifts them.
    """
    channels = image.shape[-1]
    scale, offset = (
        np.broadcast_to(np.asarray(value, np.float64), (channels,))
        for value in (image.pixels.scale, image.pixels.offset)
    )
    plain = dataclasses.replace(image, pixels=Pixels(1.0), grid=Grid(1.0, 0, 8))
    source = (_source if image.dtype is DataType.INT8 else _shifted)(plain, graph)
    # A larger code makes the unit of the bias, and so the offset, finer.
    codes = np.where(scale < 0, -_LARGEST_CODE, _LARGEST_CODE)
    scales = (np.abs(scale) / _LARGEST_CODE).astype(np.float32)
    weights = graph.add_constant(
        f"{image.name}.scale",
        codes.reshape(1, 1, 1, channels),
        DataType.INT8,
        Quantization(scales, axis=3),
    )
    units = np.rint(offset / scales.astype(np.float64)).astype(np.int64)
    bias = graph.add_bias(f"{image.name}.offset", units, source, weights)
    target = _target(image, graph)
    graph.add_operation(target, DepthwiseConv2D(), [source, weights, bias], [target])
    return target


def _in_float(
    lowering: Lowering, name: str, shape: tuple[int, ...], dtype: DataType, pixels: Pixels
) -> Value:
    """The real values of an image."""
    graph = lowering.graph
    quantization = Quantization(np.float32(pixels.scale), dtype.limits[0])
    image = graph.add_input(name, shape, dtype, quantization)
    real = graph.add_tensor(f"{name}.float", shape, DataType.FLOAT32)
    graph.add_operation(real, Dequantize(), [image], [real])
    if pixels.offset:
        values = np.array([pixels.offset], np.float32)
        shift = graph.add_constant(f"{name}.offset", values, DataType.FLOAT32)
        shifted = graph.add_tensor(f"{name}.shifted", shape, DataType.FLOAT32)
        graph.add_operation(shifted, Add(), [real, shift], [shifted])
        real = shifted
    return Value(real, None, bool(pixels.offset >= 0))
