"""Checks of an integer graph: structure, shapes, types, quantization, and the support table."""

import numpy as np

from tflite_tools.integer_graph.graph import GraphError, IntegerGraph
from tflite_tools.integer_graph.operations import LINEAR_KINDS, Operation, OperationKind
from tflite_tools.integer_graph.shapes import ShapeError, output_shape
from tflite_tools.integer_graph.tensors import DataType, Tensor
from tflite_tools.reference.accumulators import shifted_worst_case
from tflite_tools.support import table as support

#: Largest relative difference of a bias scale from input scale times weight scale.
_BIAS_SCALE_TOLERANCE = 1e-5
_INPUT_COUNTS = dict.fromkeys(LINEAR_KINDS, 3) | {OperationKind.ADD: 2, OperationKind.MUL: 2}
#: Operators whose second input may be a FLOAT32 constant of shape [1].
_WITH_SCALARS = frozenset({OperationKind.ADD, OperationKind.MUL})
#: Of the sums that LiteRT's fixed-point product of INT64 takes.
_INT64_BITS = 47


def validate_graph(graph: IntegerGraph) -> None:
    """Checks a graph; `IntegerGraph.validate` calls this.

    Raises:
      GraphError: The structure, a shape, a type or a quantization is wrong.
      UnsupportedCombinationError: LiteRT computes an operation wrongly or not at all.
    """
    _check_names(graph)
    for tensor in graph.tensors.values():
        _check_tensor(tensor)
    available = {*graph.inputs}
    for operation in graph.operations:
        _check_wiring(graph, operation, available)
        _check_shape(graph, operation)
        support.check_operation(graph, operation)
        if operation.kind in LINEAR_KINDS and graph.tensor(operation.inputs[0]).dtype.is_integer:
            _check_bias(graph, operation)
            _check_accumulator(graph, operation)
        available.update(operation.outputs)
    for name in graph.outputs:
        if name not in available:
            raise GraphError(f"Graph output {name!r} is produced by no operation.")


def _check_names(graph: IntegerGraph) -> None:
    if not graph.inputs or not graph.outputs:
        raise GraphError(
            "A graph needs at least one input and one output; use add_input and append the names "
            "of the results to graph.outputs."
        )
    for role, names in (("input", graph.inputs), ("output", graph.outputs)):
        for name in names:
            if graph.tensor(name).is_constant:
                raise GraphError(f"Graph {role} {name!r} is a constant; use an activation.")
        if len(set(names)) != len(names):
            raise GraphError(f"A graph {role} is listed twice: {names}.")


def _check_tensor(tensor: Tensor) -> None:
    if not tensor.is_constant and tensor.shape[:1] != (1,):
        raise GraphError(
            f"Activation {tensor.name!r} has shape {tensor.shape}; the first dimension is the "
            "batch and must be 1."
        )
    if not tensor.dtype.is_integer:
        if tensor.quantization is not None:
            raise GraphError(f"{tensor.dtype} tensor {tensor.name!r} must have no quantization.")
        return
    if tensor.quantization is None:
        raise GraphError(f"{tensor.dtype} tensor {tensor.name!r} has no quantization; give it one.")
    quantization = tensor.quantization
    low, high = tensor.dtype.limits
    if not low <= quantization.zero_point <= high:
        raise GraphError(
            f"Tensor {tensor.name!r}: the zero point must be a {tensor.dtype} code in "
            f"[{low}, {high}]. Received: {quantization.zero_point}."
        )
    if not quantization.is_per_channel:
        return
    if not tensor.is_constant:
        raise GraphError(f"Activation {tensor.name!r} must have one scale, not one per channel.")
    axis = quantization.axis
    if not 0 <= axis < len(tensor.shape) or tensor.shape[axis] != quantization.scale.size:
        raise GraphError(
            f"Constant {tensor.name!r} of shape {tensor.shape} has {quantization.scale.size} "
            f"scales along axis {axis}; give it one scale for each entry of that axis."
        )


def _check_wiring(graph: IntegerGraph, operation: Operation, available: set[str]) -> None:
    count = _INPUT_COUNTS.get(operation.kind, 1)
    if operation.kind is OperationKind.CONCATENATION:
        count = max(len(operation.inputs), 2)
    if len(operation.inputs) != count or len(operation.outputs) != 1:
        raise GraphError(
            f"Operation {operation.name!r}: {operation.kind} has {count} input(s) and 1 output. "
            f"Received: {operation.inputs} -> {operation.outputs}."
        )
    constants = operation.inputs[1:] if operation.kind in LINEAR_KINDS else ()
    if operation.kind in _WITH_SCALARS and _is_float_scalar(graph.tensor(operation.inputs[1])):
        constants = operation.inputs[1:]
    types = {graph.tensor(name).dtype for name in operation.inputs if name not in constants}
    if len(types) > 1:
        raise GraphError(
            f"Operation {operation.name!r} ({operation.kind}) needs inputs of one type. Received: "
            f"{sorted(map(str, types))}."
        )
    for name in operation.inputs:
        tensor = graph.tensor(name)
        if tensor.is_constant != (name in constants):
            expected = "a constant" if name in constants else "an activation"
            raise GraphError(
                f"Operation {operation.name!r} ({operation.kind}) needs {expected} where it reads "
                f"{name!r}."
            )
        if not tensor.is_constant and name not in available:
            raise GraphError(
                f"Operation {operation.name!r} reads {name!r} before any operation produces it; "
                "add operations in execution order."
            )
    for name in operation.outputs:
        if graph.tensor(name).is_constant or name in available:
            raise GraphError(
                f"Operation {operation.name!r} writes {name!r}, which is a constant, a graph input "
                "or the result of an earlier operation; every tensor has one producer."
            )


def _is_float_scalar(tensor: Tensor) -> bool:
    return tensor.is_constant and tensor.dtype is DataType.FLOAT32 and tensor.shape == (1,)


def _check_shape(graph: IntegerGraph, operation: Operation) -> None:
    declared = graph.tensor(operation.outputs[0]).shape
    shapes = [graph.tensor(name).shape for name in operation.inputs]
    try:
        expected = output_shape(operation.attributes, shapes, declared)
    except ShapeError as error:
        raise GraphError(f"Operation {operation.name!r} ({operation.kind}) {error}.") from error
    if expected != declared:
        raise GraphError(
            f"Operation {operation.name!r} ({operation.kind}) produces shape {expected}, but "
            f"tensor {operation.outputs[0]!r} is declared with {declared}."
        )


def _check_bias(graph: IntegerGraph, operation: Operation) -> None:
    """Type and scale; the support table names the biases that go with INT16 activations."""
    x, weights, bias = (graph.tensor(name) for name in operation.inputs)
    types = (DataType.INT32, DataType.INT64) if x.dtype is DataType.INT16 else (DataType.INT32,)
    if bias.dtype not in types or bias.quantization.zero_point != 0:
        raise GraphError(
            f"Operation {operation.name!r}: the bias must be "
            f"{' or '.join(kind.name for kind in types)} with zero point 0. Received: "
            f"{bias.dtype} with zero point {bias.quantization.zero_point}."
        )
    expected = np.float64(x.quantization.scales) * weights.quantization.scales
    scales = bias.quantization.scales
    if scales.shape != expected.shape or not np.allclose(
        scales, expected, rtol=_BIAS_SCALE_TOLERANCE, atol=0
    ):
        raise GraphError(
            f"Operation {operation.name!r}: the bias scale must be the input scale times the "
            "weight scale of each channel; use graph.add_bias, which sets it."
        )


def _check_accumulator(graph: IntegerGraph, operation: Operation) -> None:
    x, weights, bias = (graph.tensor(name) for name in operation.inputs)
    depthwise = operation.kind is OperationKind.DEPTHWISE_CONV_2D
    output = graph.tensor(operation.outputs[0]).quantization
    worst = shifted_worst_case(x, weights, bias, output, depthwise=depthwise)
    bits = _INT64_BITS if bias.dtype is DataType.INT64 else 31
    if worst >> bits:
        raise GraphError(
            f"Operation {operation.name!r}: the accumulator can reach {worst} (2^{bits} or more) "
            f"and would overflow {bias.dtype.name}; use smaller weight or bias codes, that is "
            "larger weight scales"
            + (", or an INT64 bias." if x.dtype is DataType.INT16 and bits == 31 else ".")
        )
