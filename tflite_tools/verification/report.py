"""The two promises of an export, measured: integers equal, and Keras agrees."""

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from quantize_configs.errors import InvalidInputError
from quantize_configs.forward import forward_function
from quantize_configs.wrappers import WrappedModel
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.conversion_keys import OPTIONS_KEY
from tflite_tools.flatbuffer.metadata import read_metadata, with_metadata
from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.flatbuffer.task_metadata import without_task_metadata
from tflite_tools.lowering import ConversionOptions, lower
from tflite_tools.verification.emitted_models import EmittedModels
from tflite_tools.verification.integers import IntegerReport, compare_integers
from tflite_tools.verification.layers import LayerReport, compare_outputs

if TYPE_CHECKING:
    from quantize_configs.keras_backend import keras

BATCH_SIZE = 100
MOST_INTEGER_IMAGES = 32
INTEGERS = 16_000_000
"""About how many integers are compared for each kernel set by default."""
MIN_AGREEMENT = 0.995
"""Share of images on which the largest output must agree; below it the layers are printed."""


class ForeignModelError(InvalidInputError):
    """A flatbuffer was not converted from the model it is compared with."""


@dataclasses.dataclass(frozen=True)
class VerificationReport:
    """Result of `verify`.

    Attributes:
      integers: LiteRT against the numpy interpreter, tensor by tensor, per kernel set.
      layers: LiteRT (XNNPACK) against Keras, tensor by tensor.
      images: Number of images of the comparison with Keras.
      top1_agreement: Share of images on which LiteRT (XNNPACK) and Keras have the same largest
        output.
      largest_output_difference: Between LiteRT's and Keras' outputs.
      keras_accuracy: Of the Keras model; None without labels.
      litert_accuracy: Of LiteRT; None without labels.
    """

    integers: IntegerReport
    layers: LayerReport
    images: int
    top1_agreement: float
    largest_output_difference: float
    keras_accuracy: float | None
    litert_accuracy: float | None

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
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("integers", "layers")
        }
        fields |= {"mismatches": self.mismatches, "elements": self.elements}
        return fields | {"integers": self.integers.as_dict(), "layers": self.layers.as_dict()}

    def __str__(self):
        lines = [
            f"{self.mismatches} of {self.elements} integers differ from the reference",
            f"top-1 agreement with Keras {self.top1_agreement:.2%} on {self.images} images",
        ]
        if self.keras_accuracy is not None:
            lines.append(
                f"accuracy: Keras {self.keras_accuracy:.2%}, LiteRT {self.litert_accuracy:.2%}"
            )
        lines.append(str(self.integers))
        if self.mismatches or self.top1_agreement < MIN_AGREEMENT:
            lines.append(str(self.layers))
        return "\n".join(lines)


def verify(
    flatbuffer: bytes,
    model: "keras.Model",
    images: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    kernel_sets=tuple(KernelSet),
    integer_images: int | None = None,
    num_threads: int = 1,
) -> VerificationReport:
    """Measures whether a converted model keeps its promises.

    Args:
      flatbuffer: Result of `convert`.
      model: The model it was converted from.
      images: float32 [N, height, width, channels], as the model takes them.
      labels: For accuracies: int [N] or [N, 1], or one-hot [N, classes].
      kernel_sets: Kernel sets to compare with the interpreter.
      integer_images: How many of the images the comparisons of all tensors use; by default up to
        32, fewer where one image makes more than half a million integers.
      num_threads: CPU threads of LiteRT.

    Raises:
      ForeignModelError: `flatbuffer` does not come from `model`.
      InvalidInputError: The images do not fit the model, or there is none; the model has several
        inputs or outputs.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InvalidInputError(
            f"verify takes models with one input and one output; {model.name!r} has "
            f"{len(model.inputs)} and {len(model.outputs)}. Use compare_integers for others."
        )
    wrapped = WrappedModel(model, frozen=True)
    graph, models = _checked_graph(flatbuffer, wrapped)
    images = np.asarray(images, np.float32)
    expected_shape = tuple(model.input_shape[1:])
    if images.shape[1:] != expected_shape or not len(images):
        raise InvalidInputError(
            f"Images must be at least one of the shape {expected_shape}. Received: {images.shape}."
        )
    classes = None if labels is None else _class_numbers(labels, len(images))
    inputs, images = _model_inputs(graph, images)
    if integer_images is None:
        sizes = (math.prod(graph.tensor(name).shape) for name in graph.activation_names)
        integer_images = min(max(INTEGERS // sum(sizes), 1), MOST_INTEGER_IMAGES)
    observed = slice(0, integer_images)
    integers = compare_integers(graph, [inputs[observed]], kernel_sets, num_threads, models=models)
    ours = np.concatenate(
        [
            runtime.run(
                flatbuffer, [inputs[start : start + BATCH_SIZE]], KernelSet.XNNPACK
            ).outputs[graph.outputs[0]]
            for start in range(0, len(inputs), BATCH_SIZE)
        ]
    )
    ours = _as_real(graph, ours)
    first = max(BATCH_SIZE, integer_images)  # in one pass for both comparisons with Keras
    layers, first_outputs = compare_outputs(
        models.debug(), wrapped, inputs[observed], images[:first]
    )
    keras_outputs = np.concatenate([first_outputs, *_keras_outputs(model, images[first:])])
    same = ours.reshape(len(images), -1).argmax(-1) == keras_outputs.reshape(
        len(images), -1
    ).argmax(-1)
    accuracies: list[float | None] = [None, None]
    if classes is not None:
        accuracies = [
            float(np.mean(outputs.argmax(-1) == classes)) for outputs in (keras_outputs, ours)
        ]
    return VerificationReport(
        integers=integers,
        layers=layers,
        images=len(images),
        top1_agreement=float(np.mean(same)),
        largest_output_difference=float(np.max(np.abs(ours - keras_outputs))),
        keras_accuracy=accuracies[0],
        litert_accuracy=accuracies[1],
    )


def _class_numbers(labels: np.ndarray, count: int) -> np.ndarray:
    """int [N] of labels in any shape that Keras takes."""
    labels = np.asarray(labels)
    if len(labels) != count:
        raise InvalidInputError(f"{count} images need as many labels. Received: {len(labels)}.")
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
    graph.metadata = metadata
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


def _keras_outputs(model, images):
    forward = forward_function(model)
    starts = range(0, len(images), BATCH_SIZE)
    return [forward(images[start : start + BATCH_SIZE]).numpy() for start in starts]


def _model_inputs(graph, images):
    """(what the flatbuffer takes, what Keras takes); the same images."""
    tensor = graph.tensor(graph.inputs[0])
    if tensor.quantization is None:
        return images, images
    scale, zero_point = np.float32(tensor.quantization.scale), tensor.quantization.zero_point
    is_image = graph.operations[0].name == f"{graph.inputs[0]}.float"
    low = np.float32((graph.metadata[OPTIONS_KEY].get("pixel_range") or (0.0,))[0])
    offset = low if is_image else np.float32(0)
    codes = np.rint((images - offset) * (np.float32(1) / scale)) + np.float32(zero_point)
    codes = np.clip(codes, *tensor.dtype.limits).astype(tensor.dtype.numpy_type)
    if not is_image:  # Keras rounds to the same codes
        return codes, images
    return codes, (codes.astype(np.float32) - np.float32(zero_point)) * scale + offset


def _as_real(graph, outputs):
    quantization = graph.tensor(graph.outputs[0]).quantization
    if quantization is None:
        return outputs
    return (outputs.astype(np.float32) - quantization.zero_point) * np.float32(quantization.scale)
