"""Reading a LiteRT flatbuffer back as an integer graph: the inverse of the emitter."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from quantize_configs.errors import UnsupportedError
from tflite_tools.flatbuffer.damage import damage_said
from tflite_tools.flatbuffer.metadata import read_metadata
from tflite_tools.flatbuffer.packing import unpack
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization, Tensor
from tflite_tools.operators.convolution import DepthwiseConv2D
from tflite_tools.operators.operator import Operator
from tflite_tools.operators.registry import OPERATORS
from tflite_tools.operators.shaping import Reshape


class UnreadableGraphError(UnsupportedError):
    """A file that has no integer graph, because it has what this package never writes."""


def read_graph(flatbuffer: bytes) -> IntegerGraph:
    """The integer graph of a file, of `convert` or of another converter.

    Operations are called by the tensors they write. The graph is valid: its arithmetic is modelled.

    Args:
      flatbuffer: Bytes of a .tflite file.

    Raises:
      FlatbufferError: The bytes are no model, or damaged.
      UnreadableGraphError: An operator, a type or a form is not modelled.
      UnsupportedCombinationError: LiteRT computes an operation wrongly or not at all.
    """
    from ai_edge_litert import schema_py_generated as schema

    with damage_said(flatbuffer):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer))
        if len(model.subgraphs) != 1:
            raise UnreadableGraphError(f"The file has {len(model.subgraphs)} graphs; one is read.")
        graph = _Reader(schema, model).graph
        graph.metadata = read_metadata(flatbuffer) or {}
        graph.validate()
        return graph


class _Reader:
    """The tensors and operations of one file."""

    def __init__(self, schema: Any, model: Any):
        self._model = model
        self._main = model.subgraphs[0]
        self._types = _by_number(schema.TensorType)
        self._names = _by_number(schema.BuiltinOperator)
        self.graph = IntegerGraph()
        self._widened: dict[int, int] = {}  # FLOAT32 tensor to the FLOAT16 constant behind it
        self._copied: dict[int, int] = {}  # tensor to the constant that it is a copy of
        self._shapes: set[int] = set()  # of the copies
        self._biases = set(self._read_biases())
        nodes = [node for node in map(self._described, self._main.operators) if node]
        settings = {index for node in nodes for index in node[2]}
        skipped = settings | set(self._widened) | set(self._copied) | self._shapes
        for index in range(len(self._main.tensors)):
            if index not in skipped:
                self._add_tensor(index)
        for cls, options, indices, inputs, outputs in nodes:
            self._add_operation(cls, options, indices, inputs, outputs)
        self.graph.inputs = [self._name(index) for index in self._main.inputs]
        self.graph.outputs = [self._name(index) for index in self._main.outputs]

    def _read_biases(self) -> Iterator[int]:
        """The tensors that depthwise convolutions read as biases."""
        for operator in self._main.operators:
            if self._kind(operator) == DepthwiseConv2D.kind and len(operator.inputs) == 3:
                yield int(operator.inputs[2])

    def _kind(self, operator) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        return self._names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "unknown")

    def _described(self, operator):
        """(class, options, indices of its settings, inputs, outputs), or None for a constant."""
        kind = self._kind(operator)
        inputs = [int(index) for index in operator.inputs]
        outputs = [int(index) for index in operator.outputs]
        if kind not in OPERATORS:
            code = self._model.operatorCodes[operator.opcodeIndex]
            name = (code.customCode or kind.encode()).decode()
            raise UnreadableGraphError(f"The operator {name} is not modelled.")
        if min(inputs, default=-1) < 0 or len(outputs) != 1:
            raise UnreadableGraphError(f"A {kind} without all its inputs is not modelled.")
        constants = [index for index in inputs if self._stored(index) is not None]
        if kind == "DEQUANTIZE" and constants:
            self._widened[outputs[0]] = inputs[0]
            return None
        if kind == Reshape.kind and inputs[0] in constants and outputs[0] in self._biases:
            self._copied[outputs[0]] = inputs[0]
            self._shapes.update(inputs[1:])
            return None
        cls: type[Operator] = OPERATORS[kind]
        arity = len(inputs) if cls.arity is None else cls.arity
        settings = inputs[arity:]
        if not set(settings) <= set(constants):
            raise UnreadableGraphError(f"A {kind} with {len(inputs)} inputs is not modelled.")
        return cls, operator.builtinOptions, settings, inputs[:arity], outputs

    def _add_tensor(self, index: int) -> None:
        given = self._main.tensors[index]
        dtype = self._dtype(index)
        shape = tuple(int(size) for size in given.shape)
        name, data = self._name(index), self._stored(index)
        quantization = _quantization(given, is_constant=data is not None)
        if data is not None:
            data = _codes(data, dtype, shape)
        try:
            self.graph.tensors[name] = Tensor(name, shape, dtype, quantization, data)
        except ValueError as error:
            raise UnreadableGraphError(f"The tensor {name!r} is not modelled: {error}") from error

    def _add_operation(self, cls, options, indices, inputs, outputs) -> None:
        settings = []
        for index in indices:
            shape = tuple(int(size) for size in self._main.tensors[index].shape)
            stored = np.asarray(self._stored(index), np.uint8)
            settings.append(_codes(stored, self._dtype(index), shape))
        sources = self._widened | self._copied
        names = [self._name(sources.get(index, index)) for index in inputs]
        output = self._name(outputs[0])
        try:
            attributes = cls.read(options, settings)
        except (ValueError, TypeError, IndexError) as error:
            raise UnreadableGraphError(f"The {cls.kind} {output!r}: {error}.") from error
        if set(inputs) & set(self._copied):
            attributes = dataclasses.replace(attributes, left_to_builtin=True)
        self.graph.add_operation(output, attributes, names, [output])

    def _name(self, index: int) -> str:
        return (self._main.tensors[index].name or f"#{index}".encode()).decode()

    def _dtype(self, index: int) -> DataType:
        kind = self._types.get(self._main.tensors[index].type, "unknown").lower()
        if kind not in tuple(DataType):
            raise UnreadableGraphError(f"{kind.upper()} tensors are not modelled.")
        return DataType(kind)

    def _stored(self, index: int) -> np.ndarray | None:
        """Bytes of a constant; None for an activation."""
        data = self._model.buffers[self._main.tensors[index].buffer].data
        return None if data is None or not len(data) else np.asarray(data, np.uint8)


def _by_number(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if name.isupper()}


def _quantization(tensor: Any, *, is_constant: bool) -> Quantization | None:
    """Constants have a vector of scales, activations one scale."""
    given = tensor.quantization
    if given is None or given.scale is None or not len(given.scale):
        return None
    zero_points = set(map(int, given.zeroPoint)) if given.zeroPoint is not None else {0}
    if len(zero_points) != 1:
        raise UnreadableGraphError("Tensors with several zero points are not modelled.")
    scale = np.asarray(given.scale, np.float32)
    axis = int(given.quantizedDimension)
    is_single = len(scale) == 1 and not is_constant
    return Quantization(scale[0] if is_single else scale, zero_points.pop(), axis)


def _codes(data: np.ndarray, dtype: DataType, shape: tuple[int, ...]) -> np.ndarray:
    if dtype in (DataType.INT4, DataType.INT2):
        return unpack(data, dtype.bits, int(np.prod(shape))).reshape(shape)
    return data.view(dtype.numpy_type.newbyteorder("<")).reshape(shape)
