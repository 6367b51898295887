"""One file on many runtimes, each in a process of its own, and what they compute compared."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from quantize_configs.arguments import number, whole_number
from quantize_configs.errors import InvalidInputError, QFAError
from tflite_tools.arguments import by_name
from tflite_tools.arithmetic.kernel_sets import KernelSet, Processor
from tflite_tools.arithmetic.node import Node
from tflite_tools.flatbuffer.content import ModelFile, content_of
from tflite_tools.flatbuffer.emitter import with_all_outputs
from tflite_tools.flatbuffer.graph_reader import read_graph
from tflite_tools.flatbuffer.inspection import Inspection, inspect
from tflite_tools.integer_graph.graph import IntegerGraph
from tflite_tools.integer_graph.input_checks import require_finite
from tflite_tools.reference.interpreter import interpret
from tflite_tools.runtimes.processes import DEFAULT_LIMIT, execute
from tflite_tools.runtimes.registry import ALL, chosen_runtimes, find_runtime
from tflite_tools.runtimes.report import (
    NOT_MODELLED,
    IntegerMatch,
    RuntimeResult,
    RuntimesReport,
)
from tflite_tools.runtimes.runtime import (
    Execution,
    MissingRuntimeError,
    Runtime,
    RuntimeProblem,
)

BASELINE = "xnnpack"
INTEGER_IMAGES = 2


def compare_runtimes(
    flatbuffer: ModelFile,
    images: np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray],
    labels: np.ndarray | None = None,
    *,
    runtimes: str | Iterable[str | Runtime] = ALL,
    integer_images: int = INTEGER_IMAGES,
    limit: float = DEFAULT_LIMIT,
    progress: Callable[[str], None] | None = None,
) -> RuntimesReport:
    """Runs one file on runtimes, each in a process of its own, and compares what they compute.

    A runtime that is not installed, refuses the file, crashes, hangs or computes something that is
    no output of the model has a sentence in the report; the others are reported all the same.

    Args:
      flatbuffer: Bytes of a .tflite file, or its path.
      images: [N, ...] of the type of the model's input; for several inputs a list in their order,
        or a dict by their names.
      labels: int [N] or [N, 1]; the answer is the largest entry of the first output.
      runtimes: Names, see `tflite_tools.runtimes.registry.RUNTIMES`, or runtimes of one's own;
        "all" by default.
      integer_images: Of the images, how many are compared integer by integer.
      limit: Seconds for one run of a runtime.
      progress: Told the name of each runtime before it runs.

    Raises:
      FlatbufferError: The bytes are no model.
      UnknownRuntimeError: There is no such runtime.
      InvalidInputError: The images do not fit the model, or the labels do not fit the images.
    """
    flatbuffer = content_of(flatbuffer)
    chosen = chosen_runtimes(runtimes)
    whole_number("integer_images", integer_images, 0)
    number("limit", limit, 0.0)
    declared = inspect(flatbuffer, delegation=False)
    inputs = _checked_inputs(declared, images)
    count = len(inputs[0])
    classes = math.prod(declared.outputs[0][2][1:])
    answers = None if labels is None else _checked_labels(labels, count, classes)
    comparison = _Comparison(flatbuffer, inputs, answers, integer_images, limit)
    baseline = find_runtime(BASELINE)
    reference = comparison.attempt(baseline)
    results = []
    for runtime in chosen:
        if progress is not None:
            progress(runtime.name)
        outcome = reference if runtime is baseline else comparison.attempt(runtime)
        results.append(comparison.result(runtime, outcome, reference))
    return RuntimesReport(count, tuple(results))


class _Comparison:
    """One file and its images, and what to compare."""

    def __init__(self, flatbuffer, inputs, labels, integer_images, limit):
        self._flatbuffer = flatbuffer
        self._inputs = inputs
        self._labels = labels
        self._limit = limit
        self._observed = [array[:integer_images] for array in inputs]
        self._graph: IntegerGraph | None = None
        self._unreadable = "no images to compare"
        if integer_images:
            try:
                self._graph = read_graph(flatbuffer)
            except QFAError as error:
                self._unreadable = str(error)

    def attempt(self, runtime: Runtime) -> Execution | RuntimeProblem:
        """The run of all images, or why there is none."""
        try:
            return execute(runtime, self._flatbuffer, self._inputs, self._limit)
        except RuntimeProblem as problem:
            return problem

    def result(
        self,
        runtime: Runtime,
        outcome: Execution | RuntimeProblem,
        reference: Execution | RuntimeProblem,
    ) -> RuntimeResult:
        """The row of a runtime."""
        if isinstance(outcome, RuntimeProblem):
            return RuntimeResult(
                runtime.name,
                runtime.title,
                problem=str(outcome),
                is_installed=not isinstance(outcome, MissingRuntimeError),
            )
        answers = _answers(outcome)
        equal = difference = None
        if isinstance(reference, Execution):
            equal = int(np.sum(answers == _answers(reference)))
            difference = max(
                float(np.max(np.abs(found.astype(np.float64) - expected)))
                for found, expected in zip(outcome.outputs, reference.outputs, strict=True)
            )
        integers, note = self._integers(runtime)
        has_time = runtime.has_time and len(outcome.seconds) > 0
        return RuntimeResult(
            runtime=runtime.name,
            title=runtime.title,
            version=outcome.version,
            operators=outcome.operators,
            accelerated=outcome.accelerated,
            left_out=outcome.left_out,
            integers=integers,
            integers_note=note,
            equal_answers=equal,
            largest_difference=difference,
            correct=None if self._labels is None else int(np.sum(answers == self._labels)),
            milliseconds=1e3 * float(np.median(outcome.seconds)) if has_time else None,
        )

    def _integers(self, runtime: Runtime) -> tuple[IntegerMatch | None, str]:
        """Every tensor against NumPy, from the file in which every tensor is an output."""
        graph, kernel_set = self._graph, runtime.kernel_set
        if kernel_set is None:
            return None, NOT_MODELLED
        if graph is None:
            return None, self._unreadable
        debug = with_all_outputs(self._flatbuffer)
        names = [item[0] for item in inspect(debug, delegation=False).outputs]
        try:
            found = execute(runtime, debug, self._observed, self._limit).outputs
        except RuntimeProblem as problem:
            return None, str(problem)
        values = dict(zip(names, found, strict=True))
        return match_integers(graph, runtime, self._observed, values), ""


def match_integers(
    graph: IntegerGraph,
    runtime: Runtime,
    inputs: Sequence[np.ndarray],
    values: Mapping[str, np.ndarray],
) -> IntegerMatch:
    """Compares what a runtime computed with the NumPy arithmetic of its kernels.

    Args:
      graph: The model.
      runtime: One with a kernel set.
      inputs: [N, ...] for each input of the graph.
      values: [N, ...] of every tensor that an operation makes, by name.
    """
    assert runtime.kernel_set is not None
    count = len(inputs[0])
    # One image at a time, as in the runtime: some kernels round by the size of the batch.
    expected = [
        _expected(graph, runtime.kernel_set, runtime.processor, inputs, values, position)
        for position in range(count)
    ]
    elements = mismatches = 0
    first = None
    for node in graph.operations:
        name = node.outputs[0]
        wanted = np.concatenate([image[name] for image in expected])
        # Not `!=`: both sides of a float tensor are compared bit by bit.
        differing = int(np.count_nonzero(_bits(values[name]) != _bits(wanted)))
        elements, mismatches = elements + wanted.size, mismatches + differing
        first = name if differing and first is None else first
    return IntegerMatch(count, elements, mismatches, first)


def _expected(
    graph: IntegerGraph,
    kernel_set: KernelSet,
    processor: Processor,
    inputs: Sequence[np.ndarray],
    values: Mapping[str, np.ndarray],
    position: int,
) -> dict[str, np.ndarray]:
    """Every tensor of one image, in NumPy."""

    def taken(node: Node, kernels: KernelSet) -> np.ndarray:
        """What another processor makes of a function that is not modelled."""
        return values[node.output.name][position : position + 1]

    return interpret(
        graph,
        [array[position : position + 1] for array in inputs],
        kernel_set,
        processor=processor,
        run_alone=None if processor is Processor.here() else taken,
    )


def _answers(execution: Execution) -> np.ndarray:
    first = execution.outputs[0]
    return first.reshape(len(first), -1).argmax(1)


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def _checked_inputs(declared: Inspection, images) -> list[np.ndarray]:
    for name, _, sizes in (*declared.inputs, *declared.outputs):
        if not sizes or sizes[0] not in (-1, 1):
            raise InvalidInputError(
                f"Runtimes are compared image by image, and the tensor {name!r} has the shape "
                f"{tuple(sizes)}. Give a model whose inputs and outputs have a batch of 1."
            )
    arrays = _listed(images, [name for name, *_ in declared.inputs])
    wanted = [(name, kind.lower(), ("N", *shape[1:])) for name, kind, shape in declared.inputs]
    for (name, kind, shape), array in zip(wanted, arrays, strict=True):
        if str(array.dtype) != kind or array.shape[1:] != shape[1:] or not len(array):
            raise InvalidInputError(
                f"Input {name!r} needs {kind} values of shape {shape}, at least one image. "
                f"Received: {array.dtype} of shape {array.shape}."
            )
        require_finite(array)
    if len({len(array) for array in arrays}) != 1:
        raise InvalidInputError(
            f"All inputs need as many images. Received: {[len(array) for array in arrays]}."
        )
    return arrays


def _listed(images, names: Sequence[str]) -> list[np.ndarray]:
    """An array for each input; that of a single one may stand in a list, too."""
    if images is None:
        raise InvalidInputError(f"Give images for the input(s) {list(names)}. Received: NoneType.")
    if isinstance(images, list | tuple) and len(images) == len(names) == 1:
        (images,) = images
    return [np.asarray(array) for array in by_name(images, names, "input")]


def _checked_labels(labels, count: int, classes: int) -> np.ndarray:
    found = np.asarray(labels)
    if found.shape not in ((count,), (count, 1)) or found.dtype.kind not in "iu":
        raise InvalidInputError(
            f"Labels are one integer for each of the {count} images. Received: {found.dtype} of "
            f"shape {found.shape}."
        )
    if found.min() < 0 or found.max() >= classes:
        raise InvalidInputError(
            f"Labels are from 0 to {classes - 1}. Received: {found.min()} to {found.max()}."
        )
    return found.reshape(-1)
