"""Running an integer graph in NumPy with the exact rounding of a LiteRT kernel set."""

from collections.abc import Callable, Sequence

import numpy as np

from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.integer_graph.graph import LINEAR_KINDS, IntegerGraph, Operation
from tflite_tools.integer_graph.tensors import DataType
from tflite_tools.reference import (
    kernels_builtin,
    kernels_float,
    kernels_int16,
    kernels_reference,
    kernels_xnnpack,
)
from tflite_tools.reference.node import Node
from tflite_tools.support import table as support

Kernel = Callable[[Node], np.ndarray]

_KERNELS = {
    KernelSet.XNNPACK: kernels_xnnpack.KERNELS,
    KernelSet.BUILTIN: kernels_builtin.KERNELS,
    KernelSet.REFERENCE: kernels_reference.KERNELS,
}


def interpret(
    graph: IntegerGraph,
    inputs: Sequence[np.ndarray],
    kernel_set: KernelSet = KernelSet.XNNPACK,
    num_threads: int = 1,
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

    Returns:
      Values of all activations by name: inputs first, then in order of production.

    Raises:
      ValueError: The inputs do not fit the graph.
    """
    kernel_set = KernelSet(kernel_set)
    values = dict(zip(graph.inputs, _checked(graph, inputs), strict=True))
    for operation in graph.operations:
        tensors = tuple(graph.tensor(name) for name in operation.inputs)
        node = Node(
            attributes=operation.attributes,
            inputs=tensors,
            values=tuple(
                tensor.data if tensor.is_constant else values[tensor.name] for tensor in tensors
            ),
            output=graph.tensor(operation.outputs[0]),
            num_threads=num_threads,
        )
        values[operation.outputs[0]] = _kernel(graph, operation, kernel_set)(node)
    return values


def _kernel(graph: IntegerGraph, operation: Operation, kernel_set: KernelSet) -> Kernel:
    if kernel_set is KernelSet.XNNPACK:
        delegated = support.check_operation(graph, operation).delegated
        kernel_set = KernelSet.XNNPACK if delegated else KernelSet.BUILTIN
    types = [graph.tensor(name).dtype for name in (operation.inputs[0], operation.outputs[0])]
    if DataType.INT16 in types:
        return kernels_int16.KERNELS[kernel_set][operation.kind]
    if operation.kind in LINEAR_KINDS and types[0] is DataType.FLOAT32:
        return kernels_float.by_running(kernel_set)
    return _KERNELS[kernel_set][operation.kind]


def _checked(graph: IntegerGraph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    if len(inputs) != len(graph.inputs):
        raise ValueError(
            f"The graph has {len(graph.inputs)} input(s): {graph.inputs}. Received: {len(inputs)} "
            "arrays."
        )
    arrays = [np.asarray(array) for array in inputs]
    for name, array in zip(graph.inputs, arrays, strict=True):
        tensor = graph.tensor(name)
        if array.shape[1:] != tensor.shape[1:] or array.dtype != tensor.dtype.numpy_type:
            raise ValueError(
                f"Input {name!r} needs {tensor.dtype} values of shape {('N', *tensor.shape[1:])}. "
                f"Received: {array.dtype} of shape {array.shape}."
            )
        if array.shape[0] < 1 or array.shape[0] != arrays[0].shape[0]:
            raise ValueError(
                "All inputs need one batch size of at least 1. Received batches: "
                f"{[candidate.shape[0] for candidate in arrays]}."
            )
    return arrays
