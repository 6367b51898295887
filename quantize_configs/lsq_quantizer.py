"""LSQ: weights quantized with a learned step per bit-width."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.bounds import StepsWithinWeights, magnitudes_of
from quantize_configs.elastic_quantizer import ElasticQuantizer, LearnedValue
from quantize_configs.fake_quantization import code_limits, fake_quantize, scale_gradient
from quantize_configs.inherited_grids import inherited_step
from quantize_configs.keras_backend import keras
from quantize_configs.quantizer_options import LSQOptions
from quantize_configs.weight_steps import reduced_axes, weight_steps


@dataclasses.dataclass(frozen=True)
class WeightChoice:
    """The grid of a kernel: float32 scalars `step` (positive), `qmin`, `qmax`; bool `enabled`."""

    step: Any
    qmin: Any
    qmax: Any
    enabled: Any


@dataclasses.dataclass
class LSQQuantizer(LSQOptions, ElasticQuantizer):
    """Learned step size quantization (Esser et al., ICLR 2020), for one or several bit-widths.

        w_hat = round(clip(w / |s|, Qn, Qp)) |s|,   gradient of s multiplied by 1 / sqrt(n Qp)

    with n the number of weights that share the step. One step per bit-width, of the whole tensor
    or, with `channel_axes`, of each channel.

    Training keeps steps where the weights can use them (`StepsWithinWeights`).

    The steps start from the weight at the time `build` is called, or from whatever `initial_steps`
    is given later: at `2 mean|w| / sqrt(Qp)` in the paper, which suits few bits and training; at
    `max|w| / Qp` ("largest") or where the squared error is least ("least_error") for weights that
    are trained already.

    Args:
      num_bits: 2 to 8, or several of them (elastic), 32 among them for "no quantization".
      signed: Codes are [-2^(b-1), 2^(b-1) - 1] when true, [0, 2^b - 1] otherwise.
      narrow_bits: Bit-widths at which the most negative signed code stays unused. LiteRT's int8
        specification leaves out -128, hence 8 by default; `()` gives LSQ to the letter.
      banks: Number of independent sets of steps.
      channel_axes: Axes of the weight along which steps differ, such as (-1,) for the output
        channels of a convolution and (-2, -1) of a depthwise one; () for one step per tensor.
      start_rule: "lsq", "largest" or "least_error".
    """

    Choice = WeightChoice
    zero_point = "integer"
    learned = True
    is_symmetric = True

    def __post_init__(self):
        """Checks the options; raises InvalidInputError."""
        super().__post_init__()
        self.narrow_bits = tuple(self.narrow_bits)
        self.channel_axes = tuple(self.channel_axes)

    @property
    def learned_values(self) -> dict[str, LearnedValue]:
        """`step`."""
        return {"step": LearnedValue(1.0)}

    def start(self, values) -> dict[str, np.ndarray]:
        """`initial_steps` by role."""
        return {"step": self.initial_steps(values)}

    def used(self, values, gradient_factors):
        """The step, positive, with LSQ's gradient."""
        (step,) = values
        return (scale_gradient(tf.abs(step), gradient_factors),)

    def quantize_choice(self, inputs, choice, measured=None, active=None) -> tf.Tensor:
        """Quantizes `inputs`, a weight tensor."""
        return self.quantize_on(inputs, (choice.step, choice.qmin, choice.qmax), choice.enabled)

    def narrowed(self, values, source_bits, bits, rule) -> list[np.ndarray]:
        """See `inherited_step`."""
        return [inherited_step(np.abs(values[0]), self.signed, source_bits, bits, rule)]

    def readable(self, values) -> dict[str, np.ndarray]:
        """`weight_step`, positive."""
        return {"weight_step": np.abs(values[0])}

    def limits(self, bits: int) -> tuple[float, float]:
        """Smallest and largest code; the most negative one is left out at `narrow_bits`."""
        low, high = super().limits(bits)
        return low + (self.signed and bits in self.narrow_bits), high

    def build(self, tensor_shape, name, layer) -> dict[str, tf.Variable]:
        """Creates the steps on `layer`.

        Returns:
          {"step": float32 [banks * number of bit-widths]}, with `channel_axes` followed by a shape
          that broadcasts to the weight.
        """
        owner = getattr(layer, "layer", layer)
        weight = getattr(owner, name, None)
        if isinstance(weight, tf.Variable):
            steps = self.initial_steps(weight.numpy())
            initial = np.tile(steps, (self.banks, *[1] * (steps.ndim - 1)))
        else:
            count = self.banks * len(self.bit_widths.choices)
            initial = np.ones((count, *self._step_shape(tensor_shape)), np.float32)
        step = layer.add_weight(
            name=f"{name}_step",
            shape=initial.shape,
            dtype=tf.float32,
            initializer=keras.initializers.Constant(initial),
            trainable=True,
            constraint=self._bounds(weight) if isinstance(weight, tf.Variable) else None,
        )
        return {"step": step}

    def initial_steps(self, values: np.ndarray) -> np.ndarray:
        """First steps for a weight tensor, by `start_rule`.

        Returns:
          float32 [number of bit-widths]; with `channel_axes` followed by the shape of the weight,
          1 along all other axes.
        """
        values = np.asarray(values, np.float64)
        steps = [weight_steps(values, self, bits) for bits in self.bit_widths.choices]
        return np.maximum(steps, np.finfo(np.float32).eps).astype(np.float32)

    @tf.autograph.experimental.do_not_convert
    def __call__(
        self, inputs, training, weights, bits=None, bank=0, elements=None, **kwargs
    ) -> tf.Tensor:
        """Quantizes `inputs`, a weight tensor; the same in training and outside it.

        Args:
          inputs: Weight.
          training: Not used.
          weights: What `build` returned.
          bits: int32 scalar; required when elastic.
          bank: Which set of steps, int32 scalar.
          elements: Number of elements that count for the gradient of the step, int32 scalar, when
            it is not that of `inputs` (a small kernel padded with zeros).
        """
        bits = self.bit_widths.select(bits)
        step, qmin, qmax = self.grid(weights, bits, bank)
        if elements is None:  # a number where shapes are known, and no operators
            total, of_steps = inputs.shape.num_elements(), step.shape.num_elements()
            known = total is not None and of_steps is not None
            elements = total // of_steps if known else tf.size(inputs) // tf.size(step)
        elements = tf.cast(elements, tf.float32)
        step = scale_gradient(step, tf.math.rsqrt(elements * qmax))
        return self.quantize_on(
            inputs, (step, qmin, qmax), enabled=self.bit_widths.is_quantized(bits)
        )

    def quantize_on(self, inputs, grid, enabled=None) -> tf.Tensor:
        """Quantizes `inputs` on a grid (positive step, qmin, qmax), float32 scalars.

        The gradient of the step is not scaled here.

        Args:
          inputs: Weight.
          grid: Step and code limits.
          enabled: bool scalar; where it is false, `inputs` are returned.
        """
        step, qmin, qmax = grid
        return fake_quantize(inputs, step, None, qmin, qmax, pass_at_bounds=False, enabled=enabled)

    def grid(self, weights, bits=None, bank=0):
        """Step (positive) and code limits, float32 scalars."""
        bits = self.bit_widths.limited(self.bit_widths.select(bits))
        step = self.bit_widths.parameter(weights["step"], bits, bank)
        qmin, qmax = code_limits(bits, signed=self.signed, narrow_bits=self.narrow_bits)
        return tf.abs(step), qmin, qmax

    def _bounds(self, weight: tf.Variable) -> StepsWithinWeights:
        codes = np.tile([self.limits(bits)[1] for bits in self.bit_widths.choices], self.banks)
        codes = codes.reshape(-1, *[1] * len(self._step_shape(weight.shape)))
        axes, keep = reduced_axes(weight.shape.rank, self.channel_axes), bool(self.channel_axes)
        return StepsWithinWeights(lambda: magnitudes_of(weight, axes, keep), codes)

    def _step_shape(self, shape) -> list[int]:
        """1 along all axes of a weight but those of its channels; [] for one step per tensor."""
        if not self.channel_axes:
            return []
        kept = {axis % len(shape) for axis in self.channel_axes}
        return [size if axis in kept else 1 for axis, size in enumerate(shape)]
