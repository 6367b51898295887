"""The two promises of an export, measured: integers equal, and Keras agrees."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize_configs.arguments import whole_number
from quantize_configs.deployment import mark_prepared, prepared_container, prepared_runtime
from quantize_configs.errors import InvalidInputError
from quantize_configs.forward import forward_function
from quantize_configs.kernels.registry import DEFAULT
from quantize_configs.wrappers import WrappedModel
from tflite_tools.arguments import by_name
from tflite_tools.arithmetic.kernel_sets import KernelSet, kernels_of
from tflite_tools.flatbuffer.content import ModelFile, content_of
from tflite_tools.flatbuffer.conversion_keys import OPTIONS_KEY, PIXELS_KEY
from tflite_tools.flatbuffer.metadata import read_metadata, with_metadata
from tflite_tools.flatbuffer.task_metadata import without_task_metadata
from tflite_tools.integer_graph.input_checks import require_finite
from tflite_tools.lowering import ConversionOptions, lower
from tflite_tools.verification.emitted_models import EmittedModels
from tflite_tools.verification.float_comparison import FloatReport, compare_float
from tflite_tools.verification.integers import IntegerReport, compare_integers
from tflite_tools.verification.layers import LayerReport, compare_outputs
from tflite_tools.verification.promised_kernels import BATCH_SIZE, run_on_promised

if TYPE_CHECKING:
    from quantize_configs.keras_backend import keras

Images = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
Labels = np.ndarray | Sequence[Any] | Mapping[str, Any]

MOST_INTEGER_IMAGES = 32
INTEGERS = 16_000_000
"""About how many integers are compared for each kernel set by default."""
MIN_AGREEMENT = 0.995
"""Share of images on which the largest output must agree; below it the layers are printed."""


class ForeignModelError(InvalidInputError):
    """A flatbuffer was not converted from the model it is compared with."""


@dataclasses.dataclass(frozen=True)
class OutputReport:
    """One output of a model, LiteRT against Keras.

    Attributes:
      name: Of the layer that makes it.
      top1_agreement: Share of images on which both have the same largest entry.
      largest_difference: Between the values of both.
      keras_accuracy: Of the Keras model; None without labels.
      litert_accuracy: Of LiteRT; None without labels.
      equal_answers: Share of images on which LiteRT answers as the float model; None where that is
        not known.
    """

    name: str
    top1_agreement: float
    largest_difference: float
    keras_accuracy: float | None = None
    litert_accuracy: float | None = None
    equal_answers: float | None = None

    def __str__(self):
        text = f"{self.name}: top-1 agreement with Keras {self.top1_agreement:.2%}"
        if self.keras_accuracy is not None:
            text += f"; accuracy: Keras {self.keras_accuracy:.2%}"
            text += f", LiteRT {self.litert_accuracy:.2%}"
        return text


@dataclasses.dataclass(frozen=True)
class VerificationReport:
    """Result of `verify`.

    Attributes:
      integers: LiteRT against the numpy interpreter, tensor by tensor, per kernel set.
      layers: LiteRT against Keras, tensor by tensor.
      images: Number of images of the comparison with Keras.
      outputs: The outputs, in the order of the model.
      against_float: LiteRT against the float model; None when none was given.
      runtime: Kernels of LiteRT in the comparison with Keras: those that the file was made for.
    """

    integers: IntegerReport
    layers: LayerReport
    images: int
    outputs: tuple[OutputReport, ...]
    against_float: FloatReport | None = None
    runtime: str = DEFAULT

    @property
    def top1_agreement(self) -> float:
        """Share of images with the same largest entry in LiteRT and Keras, least of all outputs."""
        return min(output.top1_agreement for output in self.outputs)

    @property
    def largest_output_difference(self) -> float:
        """Between LiteRT's and Keras' outputs, largest of all."""
        return max(output.largest_difference for output in self.outputs)

    @property
    def keras_accuracy(self) -> float | None:
        """Of the Keras model, at the first output with labels; None without labels."""
        return self._labelled.keras_accuracy if self._labelled else None

    @property
    def litert_accuracy(self) -> float | None:
        """Of LiteRT, at the first output with labels; None without labels."""
        return self._labelled.litert_accuracy if self._labelled else None

    @property
    def equal_answers(self) -> float | None:
        """Share of images with the float model's answer, at the first output that knows it."""
        known = (output.equal_answers for output in self.outputs)
        return next((share for share in known if share is not None), None)

    @property
    def _labelled(self) -> OutputReport | None:
        return next((one for one in self.outputs if one.keras_accuracy is not None), None)

    @property
    def mismatches(self) -> int:
        """Integers that differ between LiteRT and the interpreter, over all kernel sets."""
        return self.integers.mismatches

    @property
    def elements(self) -> int:
        """Integers compared, over all kernel sets."""
        return sum(comparison.elements for comparison in self.integers.kernel_sets)

    def as_dict(self) -> dict:
        """The report in plain types, for JSON."""
        names = (
            "images",
            "top1_agreement",
            "largest_output_difference",
            "runtime",
            "keras_accuracy",
            "litert_accuracy",
            "equal_answers",
            "mismatches",
            "elements",
        )
        return {
            **{name: getattr(self, name) for name in names},
            "outputs": [dataclasses.asdict(output) for output in self.outputs],
            "integers": self.integers.as_dict(),
            "layers": self.layers.as_dict(),
            "against_float": None if self.against_float is None else self.against_float.as_dict(),
        }

    def __str__(self):
        lines = [
            f"{self.mismatches} of {self.elements} integers differ from the reference",
            f"top-1 agreement with Keras {self.top1_agreement:.2%} on {self.images} images"
            + ("" if self.runtime == DEFAULT else f", {self.runtime} kernels"),
        ]
        if len(self.outputs) > 1:
            lines += [f"  {output}" for output in self.outputs]
        elif self.keras_accuracy is not None:
            lines.append(
                f"accuracy: Keras {self.keras_accuracy:.2%}, LiteRT {self.litert_accuracy:.2%}"
            )
        if self.equal_answers is not None:
            lines.append(
                f"the answer of the float model on {self.equal_answers:.2%} of {self.images} images"
            )
        if self.against_float is not None:
            lines += [output.sentence for output in self.against_float.outputs]
        lines.append(str(self.integers))
        if self.mismatches or self.top1_agreement < MIN_AGREEMENT:
            lines.append(str(self.layers))
        return "\n".join(lines)


def verify(
    flatbuffer: ModelFile,
    model: "keras.Model",
    images: Images,
    *,
    labels: Labels | None = None,
    float_model: "keras.Model | None" = None,
    float_answers: Labels | None = None,
    kernel_sets=tuple(KernelSet),
    integer_images: int | None = None,
    num_threads: int = 1,
) -> VerificationReport:
    """Measures whether a converted model keeps its promises.

    Args:
      flatbuffer: Result of `convert`, or the path of a file with it.
      model: The model it was converted from.
      images: float32 [N, height, width, channels], as the model takes them; for several inputs a
        list in their order, or a dict by their names.
      labels: For accuracies: int [N] or [N, 1], or one-hot [N, classes]; for several outputs a
        list in their order, or a dict by the names of their layers, None for those without.
      float_model: The model before `quantize`: the report says on how many images both give the
        same answer, and `against_float` where the quantized one loses what (see `compare_float`).
      float_answers: What a float model answers to these images, where it was run before: its
        outputs, or the numbers of their largest entries, in the form of `labels`.
      kernel_sets: Kernel sets to compare with the interpreter.
      integer_images: How many of the images the comparisons of all tensors use; by default up to
        32, fewer where one image makes more than half a million integers.
      num_threads: CPU threads of LiteRT.

    Raises:
      ForeignModelError: `flatbuffer` does not come from `model`.
      InvalidInputError: The images or labels do not fit the model, or there is none.
    """
    flatbuffer = content_of(flatbuffer)
    whole_number("num_threads", num_threads, 1)
    if integer_images is not None:
        whole_number("integer_images", integer_images, 1)
    kernel_sets = _kernel_sets(kernel_sets)
    with _as_promised(model, flatbuffer):
        wrapped = WrappedModel(model, frozen=True)
        arrays = _checked_images(model, wrapped.graph.inputs, images)
        count = len(arrays[0])
        classes = _class_numbers(labels, wrapped.graph.outputs, count)
        answers = _class_numbers(float_answers, wrapped.graph.outputs, count)
        graph, models = _checked_graph(flatbuffer, wrapped)
        pairs = {
            name: _model_input(graph, name, array)
            for name, array in zip(wrapped.graph.inputs, arrays, strict=True)
        }
        inputs = [pairs[name][0] for name in graph.inputs]
        arrays = [pairs[name][1] for name in wrapped.graph.inputs]
        if integer_images is None:
            sizes = (math.prod(graph.tensor(name).shape) for name in graph.activation_names)
            integer_images = min(max(INTEGERS // sum(sizes), 1), MOST_INTEGER_IMAGES)
        observed = [array[:integer_images] for array in inputs]
        integers = compare_integers(graph, observed, kernel_sets, num_threads, models=models)
        promised = graph.metadata[OPTIONS_KEY].get("runtime", DEFAULT)
        kernel_set, _ = kernels_of(promised)
        received = run_on_promised(promised, models.deployed(kernel_set), inputs)
        first = max(BATCH_SIZE, integer_images)  # in one pass for both comparisons with Keras
        layers, parts = compare_outputs(
            models.debug(kernel_set),
            wrapped,
            observed,
            [array[:first] for array in arrays],
            promised,
        )
        chunks = [parts, *_keras_outputs(model, [array[first:] for array in arrays])]
        outputs = []
        for place, name in enumerate(wrapped.graph.outputs):
            tensor = graph.outputs[place]
            ours = _as_real(graph, tensor, received[tensor])
            keras_outputs = np.concatenate([chunk[place] for chunk in chunks])
            outputs.append(_compared(name, ours, keras_outputs, classes[place], answers[place]))
        against_float = None
        if float_model is not None:
            by_input = dict(zip(wrapped.graph.inputs, arrays, strict=True))
            against_float = compare_float(flatbuffer, float_model, by_input)
        return VerificationReport(integers, layers, count, tuple(outputs), against_float, promised)


def _kernel_sets(names) -> tuple[KernelSet, ...]:
    try:
        return tuple(KernelSet(name) for name in names)
    except (ValueError, TypeError):
        known = ", ".join(KernelSet)
        raise InvalidInputError(
            f"kernel_sets are some of {known}. Received: {names!r:.200}."
        ) from None


@contextlib.contextmanager
def _as_promised(model: "keras.Model", flatbuffer: bytes) -> Iterator[None]:
    """The model computes for the kernels of the file, and afterwards for those that it had."""
    container, before = prepared_container(model), prepared_runtime(model)
    promised = ((read_metadata(flatbuffer) or {}).get(OPTIONS_KEY) or {}).get("runtime", DEFAULT)
    if container is None or before is None or before == promised:
        yield
        return
    mark_prepared(model, container, promised)
    try:
        yield
    finally:
        mark_prepared(model, container, before)


def _compared(
    name: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    classes: np.ndarray | None,
    answers: np.ndarray | None,
) -> OutputReport:
    """One output: LiteRT's values against those of Keras."""
    same = np.equal(*(values.reshape(len(values), -1).argmax(-1) for values in (ours, theirs)))
    accuracies: list[float | None] = [None, None]
    if classes is not None:
        accuracies = [float(np.mean(values.argmax(-1) == classes)) for values in (theirs, ours)]
    equal = None if answers is None else float(np.mean(ours.argmax(-1) == answers))
    difference = float(np.max(np.abs(ours - theirs)))
    theirs_right, ours_right = accuracies
    return OutputReport(name, float(np.mean(same)), difference, theirs_right, ours_right, equal)


def _checked_images(model, names: Sequence[str], images: Images) -> list[np.ndarray]:
    """One array for each input of the model."""
    given = by_name(images, names, "input")
    arrays = [np.asarray(array, np.float32) for array in given]
    for tensor, name, array in zip(model.inputs, names, arrays, strict=True):
        expected = tuple(tensor.shape[1:])
        if array.shape[1:] != expected or not len(array) or len(array) != len(arrays[0]):
            several = f" for the input {name!r}, equally many for all inputs,"
            raise InvalidInputError(
                f"Images{several if len(names) > 1 else ''} must be at least one of the shape "
                f"{expected}. Received: {array.shape}."
            )
        require_finite(array)
    return arrays


def _class_numbers(
    labels: Labels | None, names: Sequence[str], count: int
) -> list[np.ndarray | None]:
    """int [N] of labels in any shape that Keras takes, for each output; None without."""
    if labels is None:
        return [None] * len(names)
    given = by_name(labels, names, "output")
    return [None if one is None else _numbers(one, count) for one in given]


def _numbers(labels: Any, count: int) -> np.ndarray:
    labels = np.asarray(labels)
    if not labels.ndim or len(labels) != count:
        raise InvalidInputError(
            f"{count} images need as many labels. Received the shape {labels.shape}."
        )
    if labels.ndim == 1:
        return labels
    if labels.ndim == 2:
        return labels[:, 0] if labels.shape[1] == 1 else labels.argmax(-1)
    raise InvalidInputError(
        f"labels must have the shape [N], [N, 1] or, one-hot, [N, classes]. Received: "
        f"{labels.shape}."
    )


def _checked_graph(flatbuffer, wrapped):
    """The integer graph of a model and its flatbuffers, once it is sure that this is one."""
    metadata = read_metadata(flatbuffer)
    if metadata is None or OPTIONS_KEY not in metadata:
        raise ForeignModelError(
            "The flatbuffer was not written by tflite_tools.convert; there is no integer graph to "
            "compare it with."
        )
    graph = lower(wrapped, ConversionOptions(**metadata[OPTIONS_KEY]))
    graph.metadata = metadata | graph.metadata
    models = EmittedModels(graph)
    emitted = models.deployed()
    # Packed again, because a file with more metadata is packed in another order.
    if emitted != flatbuffer and _plain(emitted) != _plain(flatbuffer):
        raise ForeignModelError(
            "The flatbuffer was converted from another model, or from this one before it changed. "
            "Convert the model again and verify the result."
        )
    return graph, models


def _plain(flatbuffer: bytes) -> bytes:
    """The bytes of a file without what is there for other tools."""
    return without_task_metadata(with_metadata(flatbuffer, {}))


def _keras_outputs(model, arrays) -> list[list[np.ndarray]]:
    """Outputs of Keras, batch by batch."""
    forward = forward_function(model)
    chunks = []
    for start in range(0, len(arrays[0]), BATCH_SIZE):
        batch = [array[start : start + BATCH_SIZE] for array in arrays]
        outputs = forward(batch if len(batch) > 1 else batch[0])
        outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        chunks.append([values.numpy() for values in outputs])
    return chunks


def _model_input(graph, name: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(what the flatbuffer takes, what Keras takes); the same images."""
    tensor = graph.tensor(name)
    if tensor.quantization is None:
        return images, images
    pixels = graph.metadata.get(PIXELS_KEY, {}).get(name)
    if pixels is not None:
        scale, offset = np.float32(pixels[0]), np.float32(pixels[1])
        bytes_ = np.clip(np.rint((images - offset) * (np.float32(1) / scale)), 0, 255)
        codes = (bytes_ + tensor.dtype.limits[0]).astype(tensor.dtype.numpy_type)
        return codes, bytes_.astype(np.float32) * scale + offset
    scale, zero_point = np.float32(tensor.quantization.scale), tensor.quantization.zero_point
    codes = np.rint(images * (np.float32(1) / scale)) + np.float32(zero_point)
    # Keras rounds to the same codes.
    return np.clip(codes, *tensor.dtype.limits).astype(tensor.dtype.numpy_type), images


def _as_real(graph, name: str, outputs: np.ndarray) -> np.ndarray:
    quantization = graph.tensor(name).quantization
    if quantization is None:
        return outputs
    return (outputs.astype(np.float32) - quantization.zero_point) * np.float32(quantization.scale)
