"""Comparing LiteRT with the NumPy interpreter, bit for bit, on every tensor."""

import dataclasses
import json
from collections.abc import Iterator, Sequence

import numpy as np

from quantize_configs.errors import InvalidInputError, InvalidTypeError
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.runtime import KernelSet, OperatorRecord
from tflite_tools.integer_graph.graph import DataType, IntegerGraph
from tflite_tools.reference.interpreter import interpret
from tflite_tools.support import table as support
from tflite_tools.verification.emitted_models import EmittedModels

#: Images per run. Tails of some kernels depend on it, so LiteRT and NumPy see the same chunks.
_CHUNK_SIZE = 32


@dataclasses.dataclass(frozen=True)
class TensorComparison:
    """One tensor, LiteRT against NumPy.

    Attributes:
      name: Tensor name.
      elements: Elements compared.
      mismatches: Elements that differ.
      largest_difference: Largest absolute difference, in codes for integer tensors.
    """

    name: str
    elements: int
    mismatches: int
    largest_difference: float


@dataclasses.dataclass(frozen=True)
class KernelSetComparison:
    """All tensors with one kernel set.

    Attributes:
      kernel_set: The kernels LiteRT ran and NumPy imitated.
      tensors: Every tensor an operation produces, in order of production, from the debug model.
      outputs: The graph outputs, from the model that is deployed.
      partitions: Delegate partitions of the deployed model.
      fully_delegated: Whether one partition runs the whole deployed model.
      fallbacks: Operators of the deployed model outside the delegate, "KIND -> tensor", with
        ": reason" where the delegate was asked.
    """

    kernel_set: KernelSet
    tensors: tuple[TensorComparison, ...]
    outputs: tuple[TensorComparison, ...]
    partitions: int
    fully_delegated: bool
    fallbacks: tuple[str, ...]

    @property
    def elements(self) -> int:
        """Elements compared, over all tensors of the debug model."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def mismatches(self) -> int:
        """Elements that differ in the debug model or in the outputs of the deployed model."""
        return sum(tensor.mismatches for tensor in (*self.tensors, *self.outputs))

    @property
    def largest_difference(self) -> float:
        """Largest absolute difference over all tensors."""
        return max(tensor.largest_difference for tensor in (*self.tensors, *self.outputs))

    @property
    def first_mismatch(self) -> str | None:
        """Name of the first tensor that differs; None if all are equal."""
        return next((item.name for item in self.tensors if item.mismatches), None)


@dataclasses.dataclass(frozen=True)
class IntegerReport:
    """Result of `compare_integers`.

    Attributes:
      images: Number of images compared.
      num_threads: CPU threads of LiteRT.
      kernel_sets: One comparison for each kernel set.
      float_operators: Operators of layers in float, the functions that read their results as they
        are, and what is computed of an image before it is on a grid, "KIND -> tensor".
    """

    images: int
    num_threads: int
    kernel_sets: tuple[KernelSetComparison, ...]
    float_operators: tuple[str, ...] = ()

    @property
    def mismatches(self) -> int:
        """Elements that differ, over all kernel sets."""
        return sum(comparison.mismatches for comparison in self.kernel_sets)

    @property
    def exact(self) -> bool:
        """True if LiteRT and NumPy agree bit for bit everywhere."""
        return self.mismatches == 0

    def as_dict(self) -> dict:
        """The report in plain types, for JSON."""
        report = dataclasses.asdict(self)
        report["mismatches"] = self.mismatches
        for entry, comparison in zip(report["kernel_sets"], self.kernel_sets, strict=True):
            for name in ("elements", "mismatches", "largest_difference", "first_mismatch"):
                entry[name] = getattr(comparison, name)
        return report

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.as_dict(), indent=2)

    def __str__(self):
        lines = [
            f"LiteRT against NumPy on {self.images} image(s), {self.num_threads} thread(s)",
            f"{'kernels':<10} {'mismatches':>10} {'elements':>12} {'max diff':>8} "
            f"{'partitions':>10}  first difference",
        ]
        for item in self.kernel_sets:
            lines.append(
                f"{item.kernel_set:<10} {item.mismatches:>10} {item.elements:>12} "
                f"{item.largest_difference:>8g} {item.partitions:>10}  "
                f"{item.first_mismatch or '-'}"
            )
            if item.kernel_set is KernelSet.XNNPACK:
                lines += [f"  in float: {text}" for text in self.float_operators]
                lines += [f"  outside the delegate: {text}" for text in item.fallbacks]
        return "\n".join(lines)


def compare_integers(
    graph: IntegerGraph,
    inputs: Sequence[np.ndarray],
    kernel_sets: Sequence[KernelSet] = tuple(KernelSet),
    num_threads: int = 1,
    chunk_size: int = _CHUNK_SIZE,
    models: EmittedModels | None = None,
) -> IntegerReport:
    """Runs a graph in LiteRT and in NumPy and compares every tensor.

    LiteRT runs the debug model, in which every tensor is an output, and the deployed model, whose
    outputs are compared as well.

    Args:
      graph: A valid graph.
      inputs: One array [N, ...] for each graph input.
      kernel_sets: Kernel sets to compare.
      num_threads: CPU threads of LiteRT.
      chunk_size: Images per run; memory grows with it.
      models: Those of `graph`, if they were written already.

    Returns:
      Mismatches per kernel set and tensor.

    Raises:
      GraphError: The graph is not well formed.
      UnsupportedCombinationError: LiteRT computes an operation wrongly or not at all.
      InvalidInputError: The inputs do not fit, or `chunk_size` is below 1.
      InvalidTypeError: `graph` is something else.
    """
    if not isinstance(graph, IntegerGraph):
        raise InvalidTypeError(
            "compare_integers takes the integer graph of a model. To compare a file with its model "
            f"use verify(flatbuffer, model, images). Received: {type(graph).__name__}."
        )
    if chunk_size < 1:
        raise InvalidInputError(f"chunk_size is at least 1. Received: {chunk_size}.")
    inputs = [np.asarray(array) for array in inputs]
    models = models or EmittedModels(graph)
    comparisons = tuple(
        _compare_kernel_set(graph, models, inputs, KernelSet(kernel_set), num_threads, chunk_size)
        for kernel_set in kernel_sets
    )
    return IntegerReport(len(inputs[0]), num_threads, comparisons, _float_operators(graph))


def _compare_kernel_set(
    graph, models, inputs, kernel_set, num_threads, chunk_size
) -> KernelSetComparison:
    deployed, debug = models.deployed(kernel_set), models.debug(kernel_set)
    produced = [name for name in graph.activation_names if name not in graph.inputs]
    tensors: dict[str, list[TensorComparison]] = {name: [] for name in produced}
    outputs: dict[str, list[TensorComparison]] = {name: [] for name in graph.outputs}
    for chunk in _chunks(inputs, chunk_size):
        expected = interpret(graph, chunk, kernel_set, num_threads)
        seen = runtime.run(debug, chunk, kernel_set, num_threads).outputs
        result = runtime.run(deployed, chunk, kernel_set, num_threads)
        for found, received in ((tensors, seen), (outputs, result.outputs)):
            for name, chunks in found.items():
                chunks.append(_compare(name, received[name], expected[name]))
    return KernelSetComparison(
        kernel_set=kernel_set,
        tensors=tuple(_total(chunks) for chunks in tensors.values()),
        outputs=tuple(_total(chunks) for chunks in outputs.values()),
        partitions=result.partitions,
        fully_delegated=result.fully_delegated,
        fallbacks=tuple(_described(graph, item, kernel_set) for item in result.fallbacks),
    )


def _float_operators(graph: IntegerGraph) -> tuple[str, ...]:
    """Operators of floats without changes of type: those of layers in float, and of an image."""
    found: dict[str, str] = {}
    of_images = set(graph.inputs)
    for node in graph.operations:
        source, output = (graph.tensor(name) for name in (node.inputs[0], node.outputs[0]))
        is_of_image = not of_images.isdisjoint(node.inputs)
        if is_of_image and output.dtype is DataType.FLOAT32:
            of_images.add(output.name)
        if DataType.FLOAT32 is source.dtype is output.dtype and (
            node.is_linear or is_of_image or not found.keys().isdisjoint(node.inputs)
        ):
            found[output.name] = f"{node.kind} -> {output.name}"
    return tuple(found.values())


def _described(graph: IntegerGraph, fallback: OperatorRecord, kernel_set: KernelSet) -> str:
    """An operator outside the delegate, and why."""
    text = f"{fallback.name} -> {', '.join(fallback.outputs)}"
    if kernel_set is not KernelSet.XNNPACK:
        return text
    node = next(node for node in graph.operations if node.outputs == fallback.outputs)
    decision = support.check_operation(graph, node)
    return f"{text}: {decision.reason or 'XNNPACK left it out although it could take it'}"


def _chunks(inputs: Sequence[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    if not inputs or any(len(array) != len(inputs[0]) for array in inputs) or not len(inputs[0]):
        raise InvalidInputError(
            "Give one array for each graph input, all with one batch size of at least 1. Received "
            f"batches: {[len(array) for array in inputs]}."
        )
    for start in range(0, len(inputs[0]), size):
        yield [array[start : start + size] for array in inputs]


def _compare(name: str, received: np.ndarray, expected: np.ndarray) -> TensorComparison:
    if received.shape != expected.shape or received.dtype != expected.dtype:
        raise RuntimeError(
            f"Tensor {name!r}: LiteRT gives {received.dtype} {received.shape}, the interpreter "
            f"{expected.dtype} {expected.shape}. This is a bug of tflite_tools; please report it."
        )
    if received.dtype.kind in "iu" and np.array_equal(received, expected):
        return TensorComparison(name, received.size, 0, 0.0)
    difference = np.abs(received.astype(np.float64) - expected.astype(np.float64))
    # Not `difference > 0`: a NaN on one side must count.
    mismatches = difference.size - int(np.count_nonzero(difference == 0))
    return TensorComparison(name, difference.size, mismatches, float(difference.max()))


def _total(chunks: list[TensorComparison]) -> TensorComparison:
    return TensorComparison(
        name=chunks[0].name,
        elements=sum(chunk.elements for chunk in chunks),
        mismatches=sum(chunk.mismatches for chunk in chunks),
        largest_difference=max(chunk.largest_difference for chunk in chunks),
    )
