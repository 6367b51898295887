"""Writing an integer graph as a LiteRT flatbuffer.

Goes through the object API of the runtime wheel, so scales, zero points and codes reach the file
unchanged. The same graph gives the same bytes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tflite_tools.flatbuffer.metadata import METADATA_NAME, encoded, packed, unpacked
from tflite_tools.flatbuffer.packing import pack
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Operation, Tensor
from tflite_tools.operators.grids import Dequantize
from tflite_tools.operators.shaping import Reshape

#: Key of the signature with all graph inputs and outputs.
SIGNATURE_KEY = "serving_default"

#: Added to the name of a FLOAT16 constant for the FLOAT32 tensor that operators read.
WIDENED_SUFFIX = ".float32"

#: Added to the name of a constant for the copy that operators read.
COPIED_SUFFIX = ".copy"

_SCHEMA_VERSION = 3


def emit(graph: IntegerGraph, *, all_outputs: bool = False, for_reference: bool = False) -> bytes:
    """Serialises a graph.

    Args:
      graph: The graph; it is validated first.
      all_outputs: Make every activation an output as well, in order of production after the
        graph's own outputs. This debug model shows the tensors inside a delegate; it computes
        the same numbers.
      for_reference: Declare no operator version that the BUILTIN_REF resolver lacks (it has
        DEPTHWISE_CONV_2D up to version 6, INT4 weights need 7). For verification only: an old
        runtime would misread such a file instead of refusing it.

    Returns:
      The bytes of the .tflite file, with batch 1 (the runtime can resize it).

    Raises:
      GraphError: The graph is not well formed.
      UnsupportedCombinationError: LiteRT computes an operation wrongly or not at all.
    """
    graph.validate()
    return _Emitter(graph, all_outputs, for_reference).serialise()


def needs_older_versions(graph: IntegerGraph) -> bool:
    """Whether `emit` writes other bytes with `for_reference`."""
    from ai_edge_litert import schema_py_generated as schema

    return any(
        _version(schema, graph, node) > limit
        for node in graph.operations
        if (limit := node.attributes.reference_version_limit) is not None
    )


def with_all_outputs(flatbuffer: bytes) -> bytes:
    """A copy of a model in which every tensor that is computed per image is an output as well.

    Not what operators make of constants, such as widened weights: it has no axis of images.
    """
    model = unpacked(flatbuffer)
    subgraph = model.subgraphs[0]
    per_image = dict.fromkeys(int(index) for index in subgraph.inputs)
    for node in subgraph.operators:
        if any(int(index) in per_image for index in node.inputs):
            per_image.update(dict.fromkeys(int(index) for index in node.outputs))
    outputs = [int(index) for index in subgraph.outputs]
    known = {*outputs, *(int(index) for index in subgraph.inputs)}
    subgraph.outputs = outputs + [index for index in per_image if index not in known]
    model.signatureDefs = []
    return packed(model)


class _Emitter:
    """Collects the tensors, buffers and operators of one model."""

    def __init__(self, graph: IntegerGraph, all_outputs: bool, for_reference: bool):
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._graph = graph
        self._for_reference = for_reference
        self._outputs = list(graph.outputs)
        if all_outputs:
            inputs_and_outputs = {*graph.inputs, *graph.outputs}
            self._outputs += [
                name for name in graph.activation_names if name not in inputs_and_outputs
            ]
        self._buffers = [schema.BufferT()]  # Buffer 0 means "no data".
        self._tensors: list[Any] = []
        self._index: dict[str, int] = {}
        self._operator_codes: dict[tuple[str, int], int] = {}

    def serialise(self) -> bytes:
        schema = self._schema
        for tensor in self._graph.tensors.values():
            self._add_tensor(tensor)
        subgraph = schema.SubGraphT()
        subgraph.name = b"main"
        subgraph.operators = [
            operator for node in self._graph.operations for operator in self._operators(node)
        ]
        subgraph.tensors = self._tensors
        subgraph.inputs = [self._index[name] for name in self._graph.inputs]
        subgraph.outputs = [self._index[name] for name in self._outputs]
        model = schema.ModelT()
        model.version = _SCHEMA_VERSION
        model.description = b"tflite_tools"
        model.subgraphs = [subgraph]
        model.operatorCodes = [self._operator_code(*key) for key in self._operator_codes]
        model.signatureDefs = [self._signature()]
        model.metadata = self._metadata()
        model.buffers = self._buffers
        return packed(model)

    def _add_tensor(self, tensor: Tensor) -> int:
        """Adds a tensor; a constant gets a new buffer of its own."""
        schema = self._schema
        entry = schema.TensorT()
        entry.name = tensor.name.encode()
        entry.shape = list(tensor.shape)
        entry.hasRank = True
        entry.type = getattr(schema.TensorType, tensor.dtype.name)
        entry.buffer = 0
        if tensor.quantization is not None:
            entry.quantization = self._quantization(tensor)
        if tensor.is_constant:
            entry.buffer = self._add_buffer(_stored_bytes(tensor))
        self._tensors.append(entry)
        self._index[tensor.name] = len(self._tensors) - 1
        return self._index[tensor.name]

    def _quantization(self, tensor: Tensor):
        parameters = self._schema.QuantizationParametersT()
        scales = tensor.grid.scales
        parameters.scale = scales
        parameters.zeroPoint = np.full(scales.shape, tensor.grid.zero_point, np.int64)
        parameters.quantizedDimension = tensor.grid.axis if tensor.grid.is_per_channel else 0
        return parameters

    def _add_buffer(self, content: np.ndarray) -> int:
        buffer = self._schema.BufferT()
        buffer.data = content
        self._buffers.append(buffer)
        return len(self._buffers) - 1

    def _operators(self, node: Operation) -> list:
        """The operator of a node, behind those that make what it reads from constants.

        They are a DEQUANTIZE for each FLOAT16 constant, and a RESHAPE for each that is copied.
        """
        widened = []
        inputs = []
        for position, name in enumerate(node.inputs):
            tensor = self._graph.tensor(name)
            if position in node.attributes.copied_constants:
                copy = Tensor(f"{name}{COPIED_SUFFIX}", tensor.shape, tensor.dtype)
                self._add_tensor(copy)
                source = Operation(copy.name, Reshape(), (name,), (copy.name,))
                widened.append(self._operator(source, source.inputs, [tensor], copy))
                name = copy.name
            if tensor.dtype is DataType.FLOAT16:
                name = f"{name}{WIDENED_SUFFIX}"
                if name not in self._index:
                    wide = Tensor(name, tensor.shape, DataType.FLOAT32)
                    self._add_tensor(wide)
                    source = Operation(name, Dequantize(), (tensor.name,), (name,))
                    widened.append(self._operator(source, source.inputs, [tensor], wide))
            inputs.append(name)
        tensors = [self._graph.tensor(name) for name in node.inputs]
        return [*widened, self._operator(node, inputs, tensors, _output(self._graph, node))]

    def _operator(
        self, node: Operation, inputs: Sequence[str], tensors: Sequence[Tensor], output: Tensor
    ):
        options, version = node.attributes.options(self._schema, tensors, output)
        if self._for_reference:
            version = min(version, node.attributes.reference_version_limit or version)
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._operator_codes.setdefault(
            (node.kind, version), len(self._operator_codes)
        )
        operator.inputs = [self._index[name] for name in inputs]
        operator.inputs += [self._add_tensor(tensor) for tensor in _settings(node, output)]
        operator.outputs = [self._index[name] for name in node.outputs]
        if options is not None:
            union = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, union)
            operator.builtinOptions = options
        return operator

    def _operator_code(self, kind: str, version: int):
        code = self._schema.OperatorCodeT()
        code.builtinCode = getattr(self._schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        return code

    def _signature(self):
        signature = self._schema.SignatureDefT()
        signature.signatureKey = SIGNATURE_KEY.encode()
        signature.subgraphIndex = 0
        signature.inputs = [self._tensor_map(name) for name in self._graph.inputs]
        signature.outputs = [self._tensor_map(name) for name in self._outputs]
        return signature

    def _tensor_map(self, name: str):
        entry = self._schema.TensorMapT()
        entry.name = name.encode()
        entry.tensorIndex = self._index[name]
        return entry

    def _metadata(self) -> list:
        if not self._graph.metadata:
            return []
        entry = self._schema.MetadataT()
        entry.name = METADATA_NAME.encode()
        entry.buffer = self._add_buffer(encoded(self._graph.metadata))
        return [entry]


def _output(graph: IntegerGraph, node: Operation) -> Tensor:
    return graph.tensor(node.outputs[0])


def _version(schema, graph: IntegerGraph, node: Operation) -> int:
    inputs = [graph.tensor(name) for name in node.inputs]
    return node.attributes.options(schema, inputs, _output(graph, node))[1]


def _settings(node: Operation, output: Tensor) -> list[Tensor]:
    """The constants that LiteRT wants as inputs but the graph keeps as attributes."""
    return [
        Tensor(f"{node.name}/settings{number or ''}", values.shape, DataType.INT32, data=values)
        for number, values in enumerate(node.attributes.settings(output))
    ]


def _stored_bytes(tensor: Tensor) -> np.ndarray:
    if tensor.dtype in (DataType.INT4, DataType.INT2):
        return pack(tensor.codes, tensor.dtype.bits)
    little_endian = tensor.codes.astype(tensor.codes.dtype.newbyteorder("<"))
    return np.frombuffer(little_endian.tobytes(), np.uint8)
