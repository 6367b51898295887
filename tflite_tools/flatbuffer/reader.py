"""Reading a flatbuffer of this package back as an integer graph.

What `emit` writes comes back as it was; operators that the registry does not have are refused.
"""

from typing import Any

import numpy as np

from tflite_tools.flatbuffer.emitter import WIDENED_SUFFIX
from tflite_tools.flatbuffer.metadata import read_metadata
from tflite_tools.flatbuffer.packing import unpack
from tflite_tools.flatbuffer.runtime import FlatbufferError
from tflite_tools.integer_graph.graph import (
    DataType,
    IntegerGraph,
    Operation,
    Quantization,
    Tensor,
)
from tflite_tools.operators.registry import OPERATORS

_PACKED = (DataType.INT4, DataType.INT2)


def read_graph(flatbuffer: bytes) -> IntegerGraph:
    """The integer graph of a .tflite file.

    Raises:
      FlatbufferError: It has an operator, or a type, that graphs do not have.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer))
    subgraph = model.subgraphs[0]
    types = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
    kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
    tensors = [_tensor(model, entry, types) for entry in subgraph.tensors]
    graph = IntegerGraph(metadata=read_metadata(flatbuffer) or {})
    settings = set()
    widened: dict[int, int] = {}
    for entry in subgraph.operators:
        kind = kinds[model.operatorCodes[entry.opcodeIndex].builtinCode]
        if kind not in OPERATORS:
            raise FlatbufferError(f"The file has the operator {kind}, which no graph has here.")
        inputs = [widened.get(index, index) for index in map(int, entry.inputs)]
        output = int(entry.outputs[0])
        if tensors[output].name.endswith(WIDENED_SUFFIX) and tensors[inputs[0]].is_constant:
            widened[output] = inputs[0]
            continue
        operator = OPERATORS[kind]
        count = len(inputs) if operator.arity is None else operator.arity
        settings.update(inputs[count:])
        constants = [tensors[index].codes for index in inputs[count:]]
        inputs = inputs[:count]
        attributes = operator.read(entry.builtinOptions, constants)
        names = [tensors[index].name for index in inputs]
        output_name = tensors[output].name
        operation = Operation(output_name, attributes, tuple(names), (output_name,))
        graph.operations.append(operation)
    for index, tensor in enumerate(tensors):
        if index not in settings and index not in widened:
            graph.tensors[tensor.name] = tensor
    graph.inputs = [tensors[int(index)].name for index in subgraph.inputs]
    graph.outputs = [tensors[int(index)].name for index in subgraph.outputs]
    return graph


def _tensor(model: Any, entry: Any, types: dict[int, str]) -> Tensor:
    name = types[entry.type].lower()
    try:
        dtype = DataType(name)
    except ValueError:
        raise FlatbufferError(f"The file has a {name} tensor, which no graph has here.") from None
    shape = tuple(int(size) for size in entry.shape)
    stored = model.buffers[entry.buffer].data
    data = None
    if stored is not None and len(stored):
        raw = np.asarray(stored, np.uint8)
        count = int(np.prod(shape))
        if dtype in _PACKED:
            data = unpack(raw, dtype.bits, count).reshape(shape)
        else:
            data = raw.view(dtype.numpy_type.newbyteorder("<")).reshape(shape)
    return Tensor(entry.name.decode(), shape, dtype, _quantization(entry, data is not None), data)


def _quantization(entry: Any, is_constant: bool) -> Quantization | None:
    parameters = entry.quantization
    if parameters is None or parameters.scale is None or not len(parameters.scale):
        return None
    scale = np.asarray(parameters.scale, np.float32)
    zero_point = int(parameters.zeroPoint[0])
    if is_constant:
        return Quantization(scale, zero_point, int(parameters.quantizedDimension))
    return Quantization(scale[0], zero_point)
