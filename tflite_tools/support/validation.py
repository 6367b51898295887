"""Checks of an integer graph: structure, shapes, types, quantization, and the support table."""

from tflite_tools.integer_graph.operations import GraphError, GraphView, Operation
from tflite_tools.integer_graph.tensors import DataType, Tensor
from tflite_tools.operators.settings import RuleError
from tflite_tools.support import table as support


def validate_graph(graph: GraphView) -> None:
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
        check_operation(graph, operation)
        available.update(operation.outputs)
    for name in graph.outputs:
        if name not in available:
            raise GraphError(f"Graph output {name!r} is produced by no operation.")


def _check_names(graph: GraphView) -> None:
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


def _check_wiring(graph: GraphView, operation: Operation, available: set[str]) -> None:
    operator = operation.attributes
    count = operator.arity or max(len(operation.inputs), 2)
    if len(operation.inputs) != count or len(operation.outputs) != 1:
        raise GraphError(
            f"Operation {operation.name!r}: {operation.kind} has {count} input(s) and 1 output. "
            f"Received: {operation.inputs} -> {operation.outputs}."
        )
    constants = [operation.inputs[position] for position in operator.constants]
    for position in operator.optional_constants:
        tensor = graph.tensor(operation.inputs[position])
        if tensor.is_constant and tensor.dtype is DataType.FLOAT32:
            constants.append(tensor.name)
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


def check_operation(graph: GraphView, operation: Operation) -> None:
    """Checks one operation against the rules of its operator and the support table.

    Raises:
      GraphError, UnsupportedCombinationError: As `validate_graph`.
    """
    inputs = [graph.tensor(name) for name in operation.inputs]
    output = graph.tensor(operation.outputs[0])
    operator = operation.attributes
    try:
        expected = operator.output_shape([tensor.shape for tensor in inputs], output.shape)
        if expected != output.shape:
            raise RuleError(
                f"produces shape {expected}, but tensor {output.name!r} is declared with "
                f"{output.shape}"
            )
        support.check_operation(graph, operation)
        operator.check(inputs, output)
    except RuleError as error:
        raise GraphError(f"Operation {operation.name!r} ({operation.kind}) {error}.") from error
