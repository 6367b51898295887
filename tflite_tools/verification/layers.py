"""Comparing LiteRT with Keras tensor by tensor: where a difference begins, and how large it is.

The flatbuffer runs as it is, with every activation as an output, so this also works on one whose
scales were changed or went wrong. Values are compared in steps of the grid that Keras simulates.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from quantize_configs.bit_widths import WIDE_BITS
from quantize_configs.errors import InvalidInputError
from quantize_configs.files import replacing
from quantize_configs.forward import observed_forward
from quantize_configs.keras_backend import keras
from quantize_configs.kernels.registry import DEFAULT
from quantize_configs.layer_roles import Role
from quantize_configs.tensor_grids import read_grid
from quantize_configs.wrappers import WrappedModel
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.emitter import with_all_outputs
from tflite_tools.verification.promised_kernels import run_on_promised

if TYPE_CHECKING:
    import pathlib

NOTICEABLE_SHARE = 0.01
"""Share of differing codes from which on a tensor counts as different; ties stay far below it."""

MOST_TIES = 3
WIDE_CODES = 256
"""Codes of 16 bits in one of 8 bits. The last bits differ, because sums of Keras have 24 bits."""


@dataclasses.dataclass(frozen=True)
class LayerComparison:
    """One tensor, LiteRT against Keras.

    Attributes:
      name: Of the tensor, and of the Keras layer that makes it.
      layer: Class of that layer.
      bits: Of its grid.
      step: Of its grid.
      elements: Number of values compared.
      differing: Share of them that are not the same code; of 16-bit codes, those that half a code
        of 8 bits or more lies between.
      mean_difference: Mean of the absolute differences, in steps.
      largest_difference: Largest absolute difference, in steps.
      signal_to_noise: Power of Keras' values over that of the differences, in decibels;
        infinite where nothing differs.
    """

    name: str
    layer: str
    bits: int
    step: float
    elements: int
    differing: float
    mean_difference: float
    largest_difference: float
    signal_to_noise: float


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """All tensors that Keras has, too, in the order in which they are computed."""

    images: int
    layers: tuple[LayerComparison, ...]

    @property
    def first_difference(self) -> LayerComparison | None:
        """The first tensor with more than 1 % of differing codes, None when there is none.

        Up to three codes of a small tensor may be ties and do not count.
        """
        found = (
            layer
            for layer in self.layers
            if layer.differing > NOTICEABLE_SHARE
            and layer.differing * layer.elements > MOST_TIES + 0.5
        )
        return next(found, None)

    def as_dict(self) -> dict:
        """The report in plain types, for JSON (an infinite ratio is None)."""
        rows = [dataclasses.asdict(layer) for layer in self.layers]
        for row in rows:
            if not np.isfinite(row["signal_to_noise"]):
                row["signal_to_noise"] = None
        first = self.first_difference
        return {
            "images": self.images,
            "first_difference": None if first is None else first.name,
            "layers": rows,
        }

    def __str__(self):
        width = max([len(layer.name) for layer in self.layers] + [len("tensor")])
        lines = [
            f"LiteRT against Keras on {self.images} image(s), differences in steps of the grid",
            f"  {'tensor':<{width}}  bits  differing      mean  largest  SNR dB",
        ]
        first = self.first_difference
        for layer in self.layers:
            mark = ">" if layer is first else " "
            lines.append(
                f"{mark} {layer.name:<{width}}  {layer.bits:>4}  {layer.differing:>9.3%}  "
                f"{layer.mean_difference:>8.4f}  {layer.largest_difference:>7.4g}  "
                f"{layer.signal_to_noise:>6.1f}"
            )
        lines.append(
            "No tensor differs noticeably."
            if first is None
            else f"The difference begins at {first.name!r}: {first.differing:.1%} of the codes, by "
            f"{first.mean_difference:.2f} steps on average and {first.largest_difference:.4g} at "
            "most."
        )
        return "\n".join(lines)

    def plot(self, path: "str | os.PathLike | pathlib.Path") -> None:
        """Draws the differences by tensor into a PNG or PDF file; needs matplotlib.

        Raises:
          FileWriteError: The file cannot be written.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.0, 1.2 + 0.18 * len(self.layers)), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        names = [layer.name for layer in self.layers]
        first = self.first_difference
        colors = ["tab:red" if layer is first else "tab:blue" for layer in self.layers]
        values = (
            ([100 * layer.differing for layer in self.layers], "differing codes, %"),
            ([layer.mean_difference for layer in self.layers], "mean difference, steps"),
        )
        for axis, (numbers, label) in zip(axes, values, strict=True):
            axis.barh(names, numbers, color=colors)
            axis.set_xlabel(label)
            axis.tick_params(labelsize="x-small")
        axes[0].invert_yaxis()
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)


def compare_layers(
    flatbuffer: bytes,
    model: keras.Model,
    inputs: "np.ndarray | Sequence[np.ndarray]",
    images: "np.ndarray | Sequence[np.ndarray] | None" = None,
) -> LayerReport:
    """Runs a flatbuffer (XNNPACK kernels) and the model it was converted from.

    Args:
      flatbuffer: Result of `convert`, perhaps damaged since.
      model: The model it was converted from.
      inputs: Batch in the type that the flatbuffer takes; a list of one for each of several inputs.
      images: The same images as Keras takes them, float32; by default `inputs`.

    Returns:
      One entry for every INT8 tensor that goes by the name of a layer of the model.

    Raises:
      FlatbufferError: LiteRT cannot run the flatbuffer.
      InvalidInputError: It has no tensor in common with the model.
    """
    images = inputs if images is None else images
    wrapped = WrappedModel(model, frozen=True)
    batches, given = _listed(inputs), [array.astype(np.float32) for array in _listed(images)]
    return compare_outputs(with_all_outputs(flatbuffer), wrapped, batches, given)[0]


def _listed(batch: "np.ndarray | Sequence[np.ndarray]") -> list[np.ndarray]:
    return [np.asarray(one) for one in (batch if isinstance(batch, list | tuple) else (batch,))]


def compare_outputs(
    debug: bytes,
    wrapped: WrappedModel,
    inputs: Sequence[np.ndarray],
    images: Sequence[np.ndarray],
    promised: str = DEFAULT,
) -> tuple[LayerReport, list[np.ndarray]]:
    """The comparison of layers, and what Keras computes on the way.

    Args:
      debug: Flatbuffer in which every tensor is an output.
      wrapped: The model, frozen.
      inputs: Batch to compare for each input of the model, in the type that the flatbuffer takes.
      images: The same images first, and perhaps more, as Keras takes them.
      promised: Kernels to run the file on, see `run_on_promised`.

    Returns:
      The report, and the outputs of the Keras model for all `images`.
    """
    received = run_on_promised(promised, debug, inputs)
    scales = runtime.quantizations(debug)
    names = [
        name
        for name, values in received.items()
        if name in wrapped.graph.by_name
        and name in scales
        # A zero padding that became the SAME padding of a convolution leaves its tensor smaller.
        and values.shape[1:] == tuple(wrapped.wrapper(name).output.shape[1:])
    ]
    if not names:
        raise InvalidInputError(
            "The flatbuffer and the model have no tensor in common; it was converted from another "
            "model."
        )
    order = {call.name: number for number, call in enumerate(wrapped.graph.calls)}
    names.sort(key=order.__getitem__)
    outputs, expected = observed_forward(wrapped.graph, images, names, len(inputs[0]))
    rows = []
    for name in names:
        scale, zero_point = scales[name]
        real = (received[name].astype(np.float64) - zero_point) * scale
        grid = grid_of(wrapped, name, received[name].dtype == np.int16)
        rows.append(_compared(wrapped, name, grid, real, expected[name].astype(np.float64)))
    return LayerReport(len(inputs[0]), tuple(rows)), outputs


def _compared(wrapped, name, grid, real, expected) -> LayerComparison:
    step, zero_point, bits = grid
    # The layer may be compared before its quantizer or its clamp; both sides are put on the grid.
    low, high = -zero_point, 2**bits - 1 - zero_point
    real = np.clip(real / step, low, high)
    expected = np.clip(np.rint(expected / step), low, high)
    difference = np.abs(real - expected)
    noise = np.sum(difference**2)
    ratio = np.inf if noise == 0 else 10 * np.log10(max(np.sum(expected**2), 1e-30) / noise)
    return LayerComparison(
        name=name,
        layer=type(wrapped.graph.by_name[name].layer).__name__,
        bits=bits,
        step=step,
        elements=difference.size,
        differing=float(np.mean(difference > (WIDE_CODES if bits == WIDE_BITS else 1) / 2)),
        mean_difference=float(difference.mean()),
        largest_difference=float(difference.max()),
        signal_to_noise=float(ratio),
    )


def grid_of(wrapped: WrappedModel, name: str, is_wide: bool = False) -> tuple[float, int, int]:
    """Grid that a tensor is written on: (step, zero point, bits), see `activation_grid`.

    `is_wide` tells whether it is INT16, as 16-bit readers do not change what they read.
    """
    found = read_grid(wrapped, name)
    if wrapped.graph.by_name[name].role is Role.PASSING and found and not is_wide:
        return found  # what passes codes on keeps their grid, whatever reads it
    last: str | None = name
    while last is not None and not wrapped.output_quantizer(last):
        reader = wrapped.graph.sole_reader(last)
        last = None if reader is None else reader.name
    if last is not None:
        grid = wrapped.activation_grid(last)
        if last == name or (grid[2] == WIDE_BITS) == is_wide:
            return grid
    return grid_of(wrapped, wrapped.graph.by_name[name].inputs[0], is_wide)
