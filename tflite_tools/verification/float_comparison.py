"""What quantization loses: a flatbuffer against the float model it began with, tensor by tensor.

That every integer is the one that was simulated says nothing about how near they are to what the
float model computes.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from quantize_configs.errors import InvalidInputError
from quantize_configs.files import replacing
from quantize_configs.keras3_bridge import as_tf_keras
from quantize_configs.keras_backend import keras
from quantize_configs.model_graph import ModelGraph
from quantize_configs.rewriting import as_quantizable
from tflite_tools.arguments import by_name
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.content import ModelFile, content_of
from tflite_tools.flatbuffer.emitter import with_all_outputs
from tflite_tools.flatbuffer.runtime import KernelSet
from tflite_tools.verification.model_inputs import all_as_inputs

if TYPE_CHECKING:
    import pathlib

CHUNK = 4
"""Images whose tensors are in memory at a time."""


@dataclasses.dataclass(frozen=True)
class FloatComparison:
    """One tensor of a flatbuffer against that of the float model.

    Attributes:
      name: Of the tensor, and of the layer of the float model that makes it.
      layer: Class of that layer.
      elements: Values of one image.
      sqnr: Signal-to-quantization-noise ratio: power of the float values over that of the
        differences, in decibels; infinite where nothing differs.
      largest_difference: Largest absolute difference.
      bias: Mean difference, as a share of the root of the mean square of the float values.
    """

    name: str
    layer: str
    elements: int
    sqnr: float
    largest_difference: float
    bias: float


@dataclasses.dataclass(frozen=True)
class FloatOutput:
    """One output.

    Attributes:
      name: Of the layer that makes it.
      equal_answers: Share of images on which the largest entry is the same; None where an output
        has one entry.
      sqnr: Signal-to-quantization-noise ratio in decibels.
      images: Number of images.
    """

    name: str
    equal_answers: float | None
    sqnr: float
    images: int

    @property
    def sentence(self) -> str:
        """What it says, in one line."""
        if self.equal_answers is None:
            return f"{self.name}: {self.sqnr:.1f} dB against the float model"
        return (
            f"{self.name}: the answer of the float model on {self.equal_answers:.2%} of "
            f"{self.images} images, {self.sqnr:.1f} dB"
        )


@dataclasses.dataclass(frozen=True)
class FloatReport:
    """Result of `compare_float`.

    Attributes:
      images: Number of images.
      layers: Tensors that both have, in the order in which they are computed.
      outputs: Outputs of the model.
    """

    images: int
    layers: tuple[FloatComparison, ...]
    outputs: tuple[FloatOutput, ...]

    @property
    def worst_first(self) -> list[FloatComparison]:
        """The tensors, that with the least signal-to-noise ratio first."""
        return sorted(self.layers, key=lambda layer: layer.sqnr)

    def as_dict(self) -> dict:
        """The report in plain types, for JSON (an infinite ratio is None)."""
        report = dataclasses.asdict(self)
        for row in (*report["layers"], *report["outputs"]):
            if not np.isfinite(row["sqnr"]):
                row["sqnr"] = None
        return report

    def __str__(self):
        width = max([len(layer.name) for layer in self.layers] + [len("tensor")])
        lines = [output.sentence for output in self.outputs]
        lines.append(f"{'tensor':<{width}}  SQNR dB  largest difference     bias  layer")
        lines += [
            f"{layer.name:<{width}}  {layer.sqnr:>7.1f}  {layer.largest_difference:>18.4g}  "
            f"{layer.bias:>+7.3f}  {layer.layer}"
            for layer in self.worst_first
        ]
        return "\n".join(lines)

    def plot(self, path: "str | os.PathLike | pathlib.Path") -> None:
        """Draws the ratios in the order of the network into a PNG or PDF file; needs matplotlib.

        Raises:
          FileWriteError: The file cannot be written.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.0, 1.2 + 0.18 * len(self.layers)), layout="constrained")
        axis = figure.subplots()
        finite = [layer.sqnr for layer in self.layers if np.isfinite(layer.sqnr)]
        highest = max(finite, default=0.0)
        axis.barh(
            [layer.name for layer in self.layers],
            [min(layer.sqnr, highest) for layer in self.layers],
            color="tab:blue",
        )
        axis.set_xlabel("signal-to-quantization-noise ratio against the float model, dB")
        axis.tick_params(labelsize="x-small")
        axis.invert_yaxis()
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)


def compare_float(
    flatbuffer: ModelFile,
    float_model: keras.Model,
    images: "np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]",
) -> FloatReport:
    """Compares a converted model with the float model it was quantized from.

    Args:
      flatbuffer: Result of `convert`, or the path of a file with it; images are rounded to what
        its inputs take.
      float_model: The model that was given to `quantize`, of `tf_keras` or Keras 3, or the
        `float_counterpart` of a quantized one.
      images: float32 [N, ...], as the model takes them; for several inputs a list in their order,
        or a dict by their names.

    Returns:
      One entry for every tensor of the file that goes by the name of a layer of the float model,
      as it is after rewriting.

    Raises:
      FlatbufferError: LiteRT cannot run the flatbuffer.
      InvalidInputError: It has other inputs, or no tensor in common with the model.
    """
    flatbuffer = content_of(flatbuffer)
    model = as_quantizable(as_tf_keras(float_model))
    graph = ModelGraph(model)
    arrays = dict(zip(graph.inputs, by_name(images, graph.inputs, "input"), strict=True))
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    debug = with_all_outputs(flatbuffer)
    count = len(next(iter(arrays.values())))
    if not count:
        raise InvalidInputError("There are no images. Give at least one.")
    places = _input_places(flatbuffer, arrays)
    sums: dict[str, _Sums] = {}
    answers: dict[str, list[np.ndarray]] = {name: [] for name in graph.outputs}
    tracked: keras.Model | None = None
    names: list[str] = []
    tensors: dict[str, str] = {}
    for start in range(0, count, CHUNK):
        chunk = {name: array[start : start + CHUNK] for name, array in arrays.items()}
        given = all_as_inputs(flatbuffer, [chunk[name] for name in places])
        received = runtime.run(debug, given, KernelSet.XNNPACK).outputs
        if tracked is None:
            tensors = _shared_tensors(graph, received, runtime.output_names(flatbuffer))
            names = list(tensors)
            if not names:
                raise InvalidInputError(
                    "The flatbuffer and the model have no tensor in common; it was converted from "
                    "another model."
                )
            tracked = keras.Model(
                model.inputs, [graph.by_name[name].owner.output for name in names]
            )
            scales = runtime.quantizations(debug)
        values = tracked([chunk[name] for name in graph.inputs], training=False)
        values = values if isinstance(values, list | tuple) else [values]
        for name, expected in zip(names, values, strict=True):
            found = received[tensors[name]]
            if tensors[name] in scales:
                scale, zero_point = scales[tensors[name]]
                found = (found.astype(np.float64) - zero_point) * scale
            sums.setdefault(name, _Sums()).add(found, expected.numpy())
            if name in answers:
                both = (found, expected.numpy())
                flat = [one.reshape(len(one), -1).argmax(-1) for one in both]
                answers[name].append(flat[0] == flat[1])
    layers = tuple(
        sums[name].comparison(name, type(graph.by_name[name].layer).__name__) for name in names
    )
    by_layer = {layer.name: layer for layer in layers}
    outputs = tuple(
        FloatOutput(
            name,
            float(np.mean(np.concatenate(answers[name]))) if by_layer[name].elements > 1 else None,
            by_layer[name].sqnr,
            count,
        )
        for name in graph.outputs
        if name in by_layer
    )
    return FloatReport(count, layers, outputs)


def _input_places(flatbuffer: bytes, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the inputs in the order of the file."""
    names = runtime.input_names(flatbuffer)
    if set(names) != set(arrays):
        raise InvalidInputError(
            f"The flatbuffer has the inputs {names}, the model {list(arrays)}; it was converted "
            "from another model."
        )
    return names


def _shared_tensors(
    graph: ModelGraph, received: Mapping[str, np.ndarray], outputs: Sequence[str]
) -> dict[str, str]:
    """The tensors of the file by the layers that make them, in the order of the network."""
    same = len(outputs) == len(graph.outputs)
    by_place = dict(zip(graph.outputs, outputs, strict=True)) if same else {}
    found = {}
    for call in graph.calls:
        # A function that ends in float has a tensor of its own name, an output that of the file.
        for tensor in (call.name, by_place.get(call.name)):
            if tensor is not None and _is_shared(call, tensor, received):
                found[call.name] = tensor
                break
    return found


def _is_shared(call, tensor: str, received: Mapping[str, np.ndarray]) -> bool:
    """Whether the file has a tensor, in the shape of a layer."""
    if tensor not in received:
        return False
    # A zero padding that became the SAME padding of a convolution leaves its tensor smaller.
    return received[tensor].shape[1:] == tuple(call.owner.output.shape[1:])


class _Sums:
    """Of squares and differences, over batches."""

    def __init__(self) -> None:
        self._signal = self._noise = self._shift = self._largest = 0.0
        self._count = self._elements = 0

    def add(self, found: np.ndarray, expected: np.ndarray) -> None:
        """Adds a batch."""
        difference = found.astype(np.float64) - expected
        self._signal += float(np.sum(np.square(expected, dtype=np.float64)))
        self._noise += float(np.sum(difference**2))
        self._shift += float(difference.sum())
        self._largest = max(self._largest, float(np.abs(difference).max()))
        self._count += difference.size
        self._elements = difference[0].size

    def comparison(self, name: str, layer: str) -> FloatComparison:
        """What they say of a tensor."""
        signal = max(self._signal, 1e-30)
        sqnr = np.inf if self._noise == 0 else 10 * np.log10(signal / self._noise)
        bias = self._shift / self._count / np.sqrt(signal / self._count)
        return FloatComparison(name, layer, self._elements, float(sqnr), self._largest, float(bias))
