"""Running an integer graph in NumPy with the exact rounding of a LiteRT kernel set."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.arithmetic.node import Node
from tflite_tools.flatbuffer.emitter import emit
from tflite_tools.flatbuffer.runtime import run
from tflite_tools.integer_graph.graph import IntegerGraph, Operation
from tflite_tools.integer_graph.input_checks import checked_inputs
from tflite_tools.operators.operator import Arithmetic, run_in_litert
from tflite_tools.support import table as support

RunAlone = Callable[[Node, KernelSet], np.ndarray]


def interpret(
    graph: IntegerGraph,
    inputs: Sequence[np.ndarray],
    kernel_set: KernelSet = KernelSet.XNNPACK,
    num_threads: int = 1,
    processor: Processor | None = None,
    run_alone: RunAlone | None = None,
) -> dict[str, np.ndarray]:
    """Computes every activation of a graph.

    Operators that XNNPACK does not take (`tflite_tools.support.table`) run with the built-in
    kernels, as in LiteRT.

    Args:
      graph: A valid graph.
      inputs: One array [N, ...] for each graph input, in order, of the input's type. N is free;
        the tails of some built-in kernels depend on it, so compare runs of the same N.
      kernel_set: Kernels whose rounding to follow.
      num_threads: CPU threads of the run to reproduce; matters for built-in kernels only.
      processor: Whose kernels to follow; that of this computer by default.
      run_alone: Computes an operator whose arithmetic is not modelled, by default by running it
        alone in LiteRT here. Needed for the kernels of another processor.

    Returns:
      Values of all activations by name: inputs first, then in order of production.

    Raises:
      InvalidInputError: The inputs do not fit the graph.
    """
    kernel_set = KernelSet(kernel_set)
    run_alone = run_alone or _run_alone
    values = dict(zip(graph.inputs, _checked(graph, inputs), strict=True))
    for operation in graph.operations:
        tensors = tuple(graph.tensor(name) for name in operation.inputs)
        node = Node(
            attributes=operation.attributes,
            inputs=tensors,
            values=tuple(
                tensor.codes if tensor.is_constant else values[tensor.name] for tensor in tensors
            ),
            output=graph.tensor(operation.outputs[0]),
            num_threads=num_threads,
            processor=processor or Processor.here(),
        )
        values[operation.outputs[0]] = _computed(graph, operation, node, kernel_set, run_alone)
    return values


def _computed(
    graph: IntegerGraph,
    operation: Operation,
    node: Node,
    kernel_set: KernelSet,
    run_alone: RunAlone,
) -> np.ndarray:
    kernels = operation.attributes.kernels[Arithmetic.of(node.inputs[0], node.output)]
    by_set = kernel_set
    if kernel_set is KernelSet.XNNPACK and not support.check_operation(graph, operation).delegated:
        by_set = KernelSet.BUILTIN
    kernel = kernels[by_set]
    return run_alone(node, kernel_set) if kernel is run_in_litert else kernel(node)


def _run_alone(node: Node, kernel_set: KernelSet) -> np.ndarray:
    """The output of one operator with its constants, as LiteRT computes it."""
    graph, inputs, activations = IntegerGraph(), [], []
    for position, (tensor, values) in enumerate(zip(node.inputs, node.values, strict=True)):
        tensor = dataclasses.replace(tensor, name=f"input_{position}")
        graph.tensors[tensor.name] = tensor
        inputs.append(tensor.name)
        if not tensor.is_constant:
            graph.inputs.append(tensor.name)
            activations.append(np.ascontiguousarray(values))
    graph.tensors["output"] = dataclasses.replace(node.output, name="output")
    graph.add_operation("output", node.attributes, inputs, ["output"])
    graph.outputs.append("output")
    return run(emit(graph), activations, kernel_set, node.num_threads).outputs["output"]


def _checked(graph: IntegerGraph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    tensors = [graph.tensor(name) for name in graph.inputs]
    expected = [(one.name, np.dtype(one.dtype.numpy_type), one.shape) for one in tensors]
    return checked_inputs("graph", expected, inputs)
