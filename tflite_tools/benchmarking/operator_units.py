"""The operators of a flatbuffer as a delegate runs them, their layers, and each one as a model."""

import dataclasses

import numpy as np

from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.metadata import packed, unpacked
from tflite_tools.flatbuffer.native_notes import without_notes
from tflite_tools.integer_graph.graph import DataType, IntegerGraph, Quantization
from tflite_tools.operators.grids import Dequantize, Quantize
from tflite_tools.operators.registry import OPERATORS

_GRID_CHANGES = (Quantize.kind, Dequantize.kind)
_POINTWISE = frozenset(name for name, kind in OPERATORS.items() if kind.is_pointwise)
_OF_THE_READER = (".spread", ".clamped", ".unshifted")
_WEIGHT_SUFFIX = ".weight"
_LINEAR = frozenset(
    # The last one is in files of other converters only.
    [*(name for name, kind in OPERATORS.items() if kind.is_linear), "TRANSPOSE_CONV"]
)
"""Operators whose second input is a weight."""


@dataclasses.dataclass(frozen=True)
class OperatorUnit:
    """Operators that run as one: mostly a single one, or pointwise ones fused into a table.

    Attributes:
      layer: That they belong to: that of their weights, or the one they serve.
      operators: Their names, such as CONV_2D.
      positions: Their places in the main graph.
      outputs: Names of the tensors they write.
      delegated: Whether XNNPACK takes them on this computer.
    """

    layer: str
    operators: tuple[str, ...]
    positions: tuple[int, ...]
    outputs: tuple[str, ...]
    delegated: bool

    @property
    def is_pointwise(self) -> bool:
        """Whether a delegate may make one table of them."""
        return all(name in _POINTWISE for name in self.operators) and (
            len(self.operators) > 1 or self.operators[0] in _GRID_CHANGES
        )


def operator_units(flatbuffer: bytes, kernel_set: str = "xnnpack") -> list[OperatorUnit]:
    """The operators in order of execution.

    XNNPACK makes one table of pointwise functions between two 8-bit tensors when what is between
    has a single reader.

    Raises:
      FlatbufferError: The bytes are no model.
    """
    interpreter = runtime.load(flatbuffer, runtime.KernelSet(kernel_set))
    with without_notes():
        interpreter.allocate_tensors()
    records, _ = runtime.describe(interpreter)
    nodes = [node for node in interpreter._get_ops_details() if node["op_name"] != "DELEGATE"]
    details = {item["index"]: item for item in interpreter.get_tensor_details()}
    names = {index: item["name"] for index, item in details.items()}
    layers = _layers(nodes, names)
    readers: dict[int, int] = {}
    for node in nodes:
        for tensor in node["inputs"]:
            readers[int(tensor)] = readers.get(int(tensor), 0) + 1
    ends = {item["index"] for item in interpreter.get_output_details()}
    groups: list[list[int]] = []
    for position, (node, record) in enumerate(zip(nodes, records, strict=True)):
        if groups and record.delegated and records[position - 1].delegated:
            before = nodes[position - 1]
            (tensor,) = before["outputs"][:1]
            fuses = (
                _is_pointwise(before, details)
                and _is_pointwise(node, details)
                and int(node["inputs"][0]) == int(tensor)
                and readers[int(tensor)] == 1
                and int(tensor) not in ends
            )
            if fuses:
                groups[-1].append(position)
                continue
        groups.append([position])
    return [
        OperatorUnit(
            layer=layers[group[-1]],
            operators=tuple(nodes[position]["op_name"] for position in group),
            positions=tuple(group),
            outputs=tuple(names[int(tensor)] for tensor in nodes[group[-1]]["outputs"]),
            delegated=records[group[0]].delegated,
        )
        for group in groups
    ]


def as_models(flatbuffer: bytes, units: list[OperatorUnit]) -> list[bytes]:
    """Each unit as a model of its own, with the tensors it reads as inputs."""
    models = []
    for unit in units:
        model = unpacked(flatbuffer)
        graph = model.subgraphs[0]
        graph.operators = [graph.operators[position] for position in unit.positions]
        written = [int(tensor) for node in graph.operators for tensor in node.outputs]
        read = [int(tensor) for node in graph.operators for tensor in node.inputs if tensor >= 0]
        graph.inputs = [
            tensor
            for tensor in dict.fromkeys(read)
            if tensor not in written and _is_activation(model, graph.tensors[tensor])
        ]
        graph.outputs = [tensor for tensor in written if tensor not in read]
        _drop_unused(model, graph)
        model.signatureDefs = []
        models.append(packed(model))
    return models


def empty_model() -> bytes:
    """A model whose time is that of a call and next to nothing else."""
    from tflite_tools.flatbuffer.emitter import emit

    graph = IntegerGraph()
    grid = Quantization(np.float32(0.05), 0)
    graph.add_input("x", (1, 1), DataType.INT8, grid)
    graph.add_tensor("x.float", (1, 1), DataType.FLOAT32)
    graph.add_operation("x.float", Dequantize(), ["x"], ["x.float"])
    graph.add_tensor("y", (1, 1), DataType.INT8, grid)
    graph.add_operation("y", Quantize(), ["x.float"], ["y"])
    graph.outputs.append("y")
    return emit(graph)


def _drop_unused(model, graph) -> None:
    """Empties the buffers that the graph does not read."""
    used = {int(tensor) for node in graph.operators for tensor in node.inputs if tensor >= 0}
    kept = {graph.tensors[tensor].buffer for tensor in used}
    for index, buffer in enumerate(model.buffers):
        if index not in kept:
            buffer.data = None
    model.metadata = []


def _is_activation(model, tensor) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is None or not len(data)


def _is_pointwise(node, details) -> bool:
    """Whether a node computes each element by itself: in float, or from or to an 8-bit grid."""
    name = node["op_name"]
    in_float = details[int(node["outputs"][0])]["dtype"] == np.float32
    return name in _POINTWISE and (in_float or name in _GRID_CHANGES)


def _layers(nodes, names) -> list[str]:
    """The layer of each node."""
    linear = {}
    for position, node in enumerate(nodes):
        if node["op_name"] in _LINEAR:
            weights = names[int(node["inputs"][1])]
            own = names[int(node["outputs"][0])]
            is_named = weights.endswith(_WEIGHT_SUFFIX)
            linear[position] = weights.removesuffix(_WEIGHT_SUFFIX) if is_named else own
    found = []
    for position, node in enumerate(nodes):
        output = names[int(node["outputs"][0])]
        following = [linear[other] for other in linear if other > position]
        preceding = [linear[other] for other in linear if other < position]
        prefixes = [
            layer for layer in linear.values() if output == layer or output.startswith(f"{layer}.")
        ]
        if position in linear:
            found.append(linear[position])
        elif output.endswith(_OF_THE_READER) and following:
            found.append(following[0])
        elif prefixes:
            found.append(max(prefixes, key=len))
        elif preceding:
            found.append(preceding[-1])
        else:
            found.append(following[0] if following else output)
    return found
