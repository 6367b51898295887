"""LSQ, LSQ+ and PACT: activations quantized on a grid that is learned and kept."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.active_channels import count_of_active
from quantize_configs.elastic_quantizer import ElasticQuantizer, LearnedValue
from quantize_configs.fake_quantization import (
    code_limits,
    fake_quantize,
    round_straight_through,
    scale_gradient,
)
from quantize_configs.inherited_grids import inherited_low, inherited_step
from quantize_configs.keras_backend import keras
from quantize_configs.quantizer_options import LSQActivationOptions

_SAMPLED_VALUES = 1 << 16
_SHARES_OF_RANGE = np.linspace(0.05, 1.0, 39)


@dataclasses.dataclass(frozen=True)
class GridChoice:
    """The grid of an input as it is learned: `step`, lower end `low`, and limits."""

    step: Any
    low: Any
    qmin: Any
    qmax: Any
    enabled: Any


@dataclasses.dataclass
class LSQActivationQuantizer(LSQActivationOptions, ElasticQuantizer):
    """Activations on a grid with a learned step, for one or several bit-widths.

        q = round(clip(x / |s| + z, qmin, qmax)),   x_hat = (q - z) |s|

    with z = 0 for the grids "unsigned" and "signed" (LSQ, Esser et al., ICLR 2020), and
    `z = clip(round(-low / |s|), qmin, qmax)` with a learned lower end `low` for "offset" (LSQ+,
    Bhalgat et al., 2020, with a zero point that integer runtimes can compute).

    With `rule="lsq"` the gradients of `s` and `low` are those of LSQ and LSQ+, multiplied by
    `1 / sqrt(n qmax)`, n the features of one sample. With "pact" (Choi et al., 2018) only values
    outside the grid move it, and `s` learns as `alpha = qmax s` would.

    Args:
      num_bits: 2 to 8, or several of them (elastic), 32 among them for "no quantization".
      grid: "unsigned" (codes [0, 2^b - 1], negative inputs become 0), "signed" (codes
        [-2^(b-1), 2^(b-1) - 1]) or "offset".
      rule: "lsq" or "pact".
      banks: Number of independent sets of learned parameters.
    """

    needs_start = True
    Choice = GridChoice
    zero_point = "integer"
    learned = True
    is_symmetric = False

    @property
    def grid_kind(self) -> str:
        """The option `grid`."""
        return self.grid

    @property
    def kind_of_grid(self) -> tuple:
        """Learned values fit where the grids are of one kind."""
        return (type(self).__name__, self.grid)

    @property
    def learned_values(self) -> dict[str, LearnedValue]:
        """`step` and `low`."""
        return {"step": LearnedValue(1.0), "low": LearnedValue(0.0, self.has_offset)}

    def start(self, values) -> dict[str, np.ndarray]:
        """`initial_values` by role."""
        return dict(zip(("step", "low"), self.initial_values(values), strict=True))

    def used(self, values, gradient_factors):
        """(step, low) as they are; `quantize_on` scales their gradients."""
        step, low = values
        return step, low

    def quantize_choice(self, inputs, choice, measured=None, active=None) -> tf.Tensor:
        """Quantizes `inputs` on a learned grid."""
        learned = choice.step, choice.low, choice.qmin, choice.qmax
        return self.quantize_on(inputs, learned, choice.enabled, active)

    def narrowed(self, values, source_bits, bits, rule) -> list[np.ndarray]:
        """See `inherited_step` and `inherited_low`."""
        step, low = np.abs(values[0]), values[1]
        if self.has_offset:
            low = inherited_low(low, step, source_bits, bits, rule)
        return [inherited_step(step, self.signed, source_bits, bits, rule), low]

    def readable(self, values) -> dict[str, np.ndarray]:
        """`input_step`, positive, and `input_low`."""
        step, low = values
        return {"input_step": np.abs(step), "input_low": low}

    @property
    def signed(self) -> bool:  # type: ignore[override]  # follows from `grid` here
        """Whether codes are signed."""
        return self.grid == "signed"

    @property
    def has_offset(self) -> bool:
        """Whether the lower end of the grid is learned."""
        return self.grid == "offset"

    def build(self, tensor_shape, name, layer) -> dict[str, tf.Variable]:
        """Creates the learned parameters on `layer`.

        Returns:
          Variables by role: `step` and `low` float32 [banks * number of bit-widths] (`low` learns
          with the grid "offset" only), `samples` float32 scalar: how many samples they started
          from, 0 before the first batch.
        """
        shape = [self.banks * len(self.bit_widths.choices)]

        def weight(role, shape, initializer, trainable):
            return layer.add_weight(
                name=f"{name}_{role}",
                shape=shape,
                dtype=tf.float32,
                initializer=keras.initializers.Constant(initializer),
                trainable=trainable,
            )

        return {
            "step": weight("step", shape, 1.0, True),
            "low": weight("low", shape, 0.0, self.has_offset),
            "samples": weight("samples", (), 0.0, False),
        }

    def initial_values(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First steps and lower ends for an activation tensor, float32 [number of bit-widths].

        `2 mean|x| / sqrt(qmax)` as in LSQ; with the grid "offset" the grid of least squared error,
        as in LSQ+; with PACT's rule the grid that ends at the largest value.
        """
        values = np.asarray(values, np.float32).reshape(-1)
        sampled = values[:: max(1, values.size // _SAMPLED_VALUES)].astype(np.float64)
        magnitude = np.mean(np.abs(values), dtype=np.float64)
        largest = max(float(np.max(np.abs(values) if self.signed else values)), 0.0)
        steps, lows = [], []
        for bits in self.bit_widths.choices:
            qmax = 2 ** (bits - self.signed) - 1
            step, low = 2.0 * magnitude / np.sqrt(qmax), 0.0
            if self.has_offset:
                step, low = _least_error(sampled, values, qmax, self.rule == "pact")
            elif self.rule == "pact":
                step = largest / qmax
            steps.append(step)
            lows.append(low)
        smallest = np.finfo(np.float32).eps
        return np.maximum(steps, smallest).astype(np.float32), np.array(lows, np.float32)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, inputs, training, weights, bits=None, bank=0, **kwargs) -> tf.Tensor:
        """Quantizes `inputs`; the first batch of a training decides where the grid starts.

        Raises:
          tf.errors.InvalidArgumentError: Outside training, before any training.
        """
        if training:
            started = tf.cond(
                weights["samples"] > 0, lambda: tf.zeros([]), lambda: self._start(inputs, weights)
            )
            dependencies = [started]
        else:
            message = "has no step yet. Train the model for a step, or assign the step."
            check = tf.debugging.Assert(
                weights["samples"] > 0,
                ["The activation quantizer", weights["samples"].name, message],
            )
            dependencies = [] if check is None else [check]
        bits = self.bit_widths.select(bits)
        enabled = self.bit_widths.is_quantized(bits)
        with tf.control_dependencies(dependencies):
            step, low = (
                self.bit_widths.parameter(weights[role].read_value(), bits, bank)
                for role in ("step", "low")
            )
            qmin, qmax = code_limits(self.bit_widths.limited(bits), signed=self.signed)
            return self.quantize_on(inputs, (step, low, qmin, qmax), enabled)

    def _start(self, inputs, weights):
        def initial(values):
            return tuple(np.tile(part, self.banks) for part in self.initial_values(values))

        step, low = tf.numpy_function(initial, [inputs], [tf.float32, tf.float32], stateful=False)
        weights["step"].assign(tf.reshape(step, weights["step"].shape))
        weights["low"].assign(tf.reshape(low, weights["low"].shape))
        weights["samples"].assign(tf.cast(tf.shape(inputs)[0], tf.float32))
        return tf.zeros([])

    def quantize_on(self, inputs, learned, enabled=None, active=None) -> tf.Tensor:
        """Quantizes `inputs` on a learned grid.

        Args:
          inputs: Activations, samples first.
          learned: (step, low, qmin, qmax), float32 scalars as they are learned.
          enabled: bool scalar; where it is false, `inputs` are returned.
          active: bool [C], which channels count as features; None for all.
        """
        step, low, qmin, qmax = learned
        if self.rule == "pact":
            factor = 1.0 / tf.square(qmax)
        else:
            features = tf.size(inputs) // tf.maximum(tf.shape(inputs)[0], 1)
            if active is not None:
                features = features // tf.size(active) * count_of_active(active)
            factor = tf.math.rsqrt(tf.cast(features, tf.float32) * qmax)
        step = scale_gradient(step, factor)
        low = scale_gradient(low, factor) if self.has_offset else low
        step, zero_point, qmin, qmax = self.grid_from(step, low, qmin, qmax)
        shifted = zero_point if self.has_offset else None
        if self.rule == "pact":
            first, last = (qmin - zero_point) * step, (qmax - zero_point) * step
            clipped = tf.clip_by_value(tf.cast(inputs, tf.float32), first, last)
            shifted = None if shifted is None else tf.stop_gradient(shifted)
            x_hat = fake_quantize(
                clipped, tf.stop_gradient(step), shifted, qmin, qmax, integer_zero_point=True
            )
            x_hat = x_hat if enabled is None else tf.where(enabled, x_hat, inputs)
            return tf.cast(x_hat, inputs.dtype)
        return fake_quantize(
            inputs,
            step,
            shifted,
            qmin,
            qmax,
            integer_zero_point=True,
            pass_at_bounds=self.has_offset,
            enabled=enabled,
        )

    def grid_from(self, step, low, qmin, qmax):
        """(step, zero point, qmin, qmax) of learned values, float32 scalars; the step positive."""
        step = tf.abs(step)
        if not self.has_offset:
            return step, tf.zeros([]), qmin, qmax
        zero_point = tf.clip_by_value(round_straight_through(-low / step), qmin, qmax)
        return step, zero_point, qmin, qmax

    def stored_grid(self, weights, bits=None, bank=0):
        """(step, zero point, qmin, qmax) that the variables of `build` hold, float32 scalars."""
        bits = self.bit_widths.limited(self.bit_widths.select(bits))
        step, low = (
            self.bit_widths.parameter(weights[role], bits, bank) for role in ("step", "low")
        )
        return self.grid_from(step, low, *code_limits(bits, signed=self.signed))


def _least_error(sampled, values, qmax: int, whole: bool) -> tuple[float, float]:
    """(step, low) of the shrunk range with the least squared error, or of the whole range."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if low == high:
        return 0.0, 0.0
    best: tuple[float, float, float] = (math.inf, 0.0, 0.0)
    for share in (1.0,) if whole else _SHARES_OF_RANGE:
        step = share * (high - low) / qmax
        zero_point = np.round(-share * low / step)
        codes = np.clip(np.round(sampled / step) + zero_point, 0, qmax)
        error = float(np.mean(((codes - zero_point) * step - sampled) ** 2))
        if error < best[0]:
            best = error, step, -zero_point * step
    return best[1], best[2]
