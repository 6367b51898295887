"""BatchQuant: activations quantized on the range of the current batch."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs import range_estimation
from quantize_configs.bit_widths import WIDE_BITS
from quantize_configs.elastic_quantizer import ElasticQuantizer, LearnedValue
from quantize_configs.errors import InvalidInputError
from quantize_configs.factor_starts import least_error_factor
from quantize_configs.fake_quantization import (
    code_limits,
    fake_quantize,
    quantize_natively,
    round_straight_through,
)
from quantize_configs.fractional_quantization import (
    FractionalGrid,
    exact_factor,
    quantize_fractional,
)
from quantize_configs.keras_backend import keras
from quantize_configs.native.operators import native_operators
from quantize_configs.quantizer_options import BATCH_ESTIMATORS, BatchOptions

_LOG_TWO = np.float32(np.log(2.0))


@dataclasses.dataclass(frozen=True)
class BatchChoice:
    """The grid of an input but for its range: `factor` (gamma), `offset` (beta) and limits."""

    factor: Any
    offset: Any
    qmin: Any
    qmax: Any
    enabled: Any


@dataclasses.dataclass
class BatchQuantizer(BatchOptions, ElasticQuantizer):
    """Activation quantizer of the QFA paper (NeurIPS 2021), for one or several bit-widths.

    The step and zero point come from the range of the batch; per bit-width, a learned factor
    `gamma = log2(1 + 2^theta)` shrinks or widens the step and a learned offset `beta` moves the
    zero point:

        q = round(clip(x gamma / D + z, qmin, qmax)),   x_hat = (q - z) D / gamma

    with `z = clip(round(z_B + beta), qmin, qmax)` for `zero_point="integer"` (what an integer
    runtime can compute) and `z = z_B + beta` for "fractional" (the paper's formula, computed
    operation by operation as its release does). Training leaves the beta of an integer zero point
    as it is: 0, or what was learned elsewhere.

    The range comes from the batch in training. Outside training it is the stored one; while
    `accumulating` is set (see `quantize_configs.calibrate`) it comes from the batch and is also
    averaged into the stored one.

    Args:
      num_bits: 2 to 8, or several of them (elastic: `bits` is then given at each call), 32 among
        them for "no quantization". 16 alone has a symmetric grid, which is signed and not learned.
      zero_point: "integer" or "fractional".
      estimator: "channel_mean", "sample_mean", "min_max" or, for one bit-width, "least_error" (see
        `estimate_range`).
      signed: Codes are signed; x_hat is the same, only the codes move.
      learned: Whether `theta` and `beta` exist; without them gamma is 1 and beta is 0.
      factor_start: First gamma: "range", 1 for all bits as in the paper, or "least_error", see
        `least_error_factor`.
      banks: Number of independent sets of learned parameters (one per kernel size in an elastic
        depthwise convolution).
    """

    needs_range = True
    Choice = BatchChoice

    def __post_init__(self):
        """Checks the options.

        Raises:
          InvalidInputError: One is unknown, or they do not fit together.
        """
        super().__post_init__()
        if self.estimator == "least_error" and self.bit_widths.is_elastic:
            raise InvalidInputError(
                "estimator='least_error' finds the range for one bit-width. Received: "
                f"num_bits={self.num_bits}. For several take one of {BATCH_ESTIMATORS}."
            )
        self.is_symmetric = self.bit_widths.choices == (WIDE_BITS,)
        if self.is_symmetric and (self.learned or not self.signed):
            raise InvalidInputError(
                f"{WIDE_BITS} bits need signed=True and learned=False: integer kernels know zero "
                f"point 0 only. Received: signed={self.signed}, learned={self.learned}."
            )

    @property
    def learned_values(self) -> dict[str, LearnedValue]:
        """`theta` and `beta`; nothing when `learned` is false."""
        if not self.learned:
            return {}
        theta: tuple[float, ...] = (0.0,) * len(self.bit_widths.choices)
        if self.factor_start == "least_error":
            theta = tuple(_theta(least_error_factor(bits)) for bits in self.bit_widths.choices)
        return {"theta": LearnedValue(theta), "beta": LearnedValue(0.0)}

    def start(self, values) -> dict[str, np.ndarray]:
        """`first_values`: the range brings what the data tells."""
        return {role: self.first_values(role) for role in self.learned_values}

    def used(self, values, gradient_factors):
        """(gamma, beta) of (theta, beta)."""
        theta, beta = values
        return self.factor(theta), self.offset(beta)

    def quantize_choice(self, inputs, choice, measured=None, active=None) -> tf.Tensor:
        """Quantizes `inputs` on the grid of the range `measured`."""
        limits, learned = (choice.qmin, choice.qmax), (choice.factor, choice.offset)
        return self._quantize_within(inputs, measured, limits, learned, choice.enabled)

    def _quantize_within(self, inputs, measured, limits, learned, enabled):
        """Quantizes `inputs` on the grid of a range and of what was learned."""
        native = native_operators()
        if native is None or self.zero_point != "integer":
            return self.quantize_on(inputs, self.grid_from(*measured, *limits, *learned), enabled)
        enabled = tf.constant(True) if enabled is None else enabled
        values = *measured, *limits, *learned
        grid = native.batch_grid(*values, enabled=enabled, nearest=not self.keeps_middle)
        return quantize_natively(native, inputs, grid)

    def narrowed(self, values, source_bits, bits, rule) -> list[np.ndarray]:
        """The factor as many times its first value, and the offset in the steps of `bits`."""
        theta, beta = values
        if self.factor_start == "least_error":
            share = least_error_factor(bits) / least_error_factor(source_bits)
            theta = _theta(learned_factor(theta).numpy() * share)
        return [theta, beta * (2**bits - 1) / (2**source_bits - 1)]

    def readable(self, values) -> dict[str, np.ndarray]:
        """`gamma` and `beta`."""
        theta, beta = values
        return {"gamma": learned_factor(theta).numpy(), "beta": beta}

    def build(self, tensor_shape, name, layer) -> dict[str, tf.Variable]:
        """Creates the learned parameters on `layer`, and the stored range.

        Returns:
          Variables by role: `theta` and `beta` float32 [banks * number of bit-widths],
          `range_low` and `range_high` float32 scalars, `samples` float32 scalar (how many were
          averaged into the stored range), `accumulating` bool scalar.
        """
        variables = self.build_learned(name, layer)
        for role in ("range_low", "range_high", "samples"):
            variables[role] = _stored(layer, f"{name}_{role}", tf.float32)
        variables["accumulating"] = _stored(layer, f"{name}_accumulating", tf.bool)
        return variables

    def build_learned(self, name, layer) -> dict[str, tf.Variable]:
        """Creates only the learned parameters, for callers that bring the range themselves."""
        first = {role: np.tile(self.first_values(role), self.banks) for role in self.learned_values}
        return {
            role: layer.add_weight(
                name=f"{name}_{role}",
                shape=first[role].shape,
                dtype=tf.float32,
                initializer=keras.initializers.Constant(first[role]),
                trainable=one.trainable,
            )
            for role, one in self.learned_values.items()
        }

    @tf.autograph.experimental.do_not_convert
    def __call__(self, inputs, training, weights, bits=None, bank=0, **kwargs) -> tf.Tensor:
        """Quantizes `inputs`; the range follows from `training` and the stored statistics.

        Raises:
          tf.errors.InvalidArgumentError: Outside training, when no range was calibrated.
        """
        if training:
            low, high = self.batch_range(inputs, range_estimation.TRAINING_VALUES)
        else:
            low, high = tf.cond(
                weights["accumulating"],
                lambda: self._accumulate(inputs, weights),
                lambda: _stored_range(weights),
            )
        return self.quantize(inputs, low, high, weights, bits, bank)

    def batch_range(
        self,
        inputs: tf.Tensor,
        sampled: int = range_estimation.SAMPLED_VALUES,
        active: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Range of one batch, float32 scalars (see `estimate_range`)."""
        exact = not self.has_integer_zero_point
        levels = 2 ** self.bit_widths.choices[-1] - 1
        return range_estimation.estimate_range(
            inputs, self.estimator, exact, levels, sampled, active
        )

    def quantize(self, inputs, low, high, weights, bits=None, bank=0) -> tf.Tensor:
        """Quantizes `inputs` on the grid of the range [low, high].

        Args:
          inputs: Activations, samples first, channels last.
          low: float32 scalar, lower end of the range, at most 0.
          high: float32 scalar, upper end, at least 0.
          weights: What `build` or `build_learned` returned.
          bits: int32 scalar tensor or int; required when elastic.
          bank: int32 scalar, which set of learned parameters.

        Returns:
          Tensor like `inputs`.
        """
        bits = self.bit_widths.select(bits)
        enabled = self.bit_widths.is_quantized(bits)
        if not self.learned:
            return self.quantize_on(inputs, self.grid(low, high, weights, bits, bank), enabled)
        bits = self.bit_widths.limited(bits)
        learned = self._learned_of(weights, bits, bank)
        limits = code_limits(bits, signed=self.signed)
        return self._quantize_within(inputs, (low, high), limits, learned, enabled)

    def quantize_on(self, inputs, grid, enabled=None) -> tf.Tensor:
        """Quantizes `inputs` on a grid.

        Args:
          inputs: Activations.
          grid: What `grid` or `grid_from` returned.
          enabled: bool scalar; where it is false, `inputs` are returned.
        """
        if isinstance(grid, FractionalGrid):
            return quantize_fractional(inputs, grid, enabled)
        return fake_quantize(
            inputs, *grid, integer_zero_point=self.has_integer_zero_point, enabled=enabled
        )

    @property
    def has_integer_zero_point(self) -> bool:
        """Whether zero lies on every grid."""
        return self.zero_point == "integer" or not self.learned

    @property
    def keeps_middle(self) -> bool:
        """Whether nearly symmetric ranges share a zero point, see `grid_of_range`.

        That moves the ends of the grid by up to a quarter of a step, which costs nothing where the
        grid starts well inside the range, and too much where it ends with the range.
        """
        return self.learned and self.has_integer_zero_point and self.factor_start == "least_error"

    def grid(self, low, high, weights, bits=None, bank=0):
        """The grid of a range; see `grid_from`."""
        bits = self.bit_widths.limited(self.bit_widths.select(bits))
        qmin, qmax = code_limits(bits, signed=self.signed)
        if self.is_symmetric:
            return (*range_estimation.symmetric_grid_of_range(low, high, qmax), qmin, qmax)
        if not self.learned:
            return (*self._grid_of_range(low, high, qmin, qmax), qmin, qmax)
        return self.grid_from(low, high, qmin, qmax, *self._learned_of(weights, bits, bank))

    def _learned_of(self, weights, bits, bank):
        """(gamma, beta) of a bit-width."""
        return self.used(
            [self.bit_widths.parameter(weights[role], bits, bank) for role in ("theta", "beta")],
            None,
        )

    def _grid_of_range(self, low, high, qmin, qmax):
        """(step, zero point), before anything learned."""
        return range_estimation.grid_of_range(low, high, qmin, qmax, not self.keeps_middle)

    def factor(self, theta: tf.Tensor) -> tf.Tensor:
        """gamma of theta."""
        return learned_factor(theta) if self.has_integer_zero_point else exact_factor(theta)

    def offset(self, beta: tf.Tensor) -> tf.Tensor:
        """beta, which learns nothing where zero points are integers.

        Only values beyond the grid tell an offset where to go, as if it could move by less than a
        step. An integer zero point would end between two codes and jump from one to the other.
        """
        return _held(beta) if self.has_integer_zero_point else beta

    def grid_from(self, low, high, qmin, qmax, factor, offset):
        """The grid of a range and the learned gamma and beta.

        Returns:
          (step, zero point, qmin, qmax), float32 scalars, or a `FractionalGrid`.
        """
        step, zero_point = self._grid_of_range(low, high, qmin, qmax)
        if self.zero_point == "fractional":
            return FractionalGrid(step, factor, zero_point, offset, qmin, qmax)
        rounded = round_straight_through(zero_point + offset)
        return step / factor, tf.clip_by_value(rounded, qmin, qmax), qmin, qmax

    def stored_grid(self, weights, bits=None, bank=0):
        """(step, zero point, qmin, qmax) of the stored range, float32 scalars; outside graphs."""
        low, high = _stored_range(weights)
        if self.is_symmetric or not self.has_integer_zero_point:
            grid = self.grid(low, high, weights, bits, bank)
            return grid.merged() if isinstance(grid, FractionalGrid) else grid
        bits = self.bit_widths.limited(self.bit_widths.select(bits))
        qmin, qmax = (limit.numpy() for limit in code_limits(bits, signed=self.signed))
        step, zero_point = range_estimation.grid_of_stored_range(
            low.numpy(), high.numpy(), qmin, qmax, not self.keeps_middle
        )
        if not self.learned:
            return step, zero_point, qmin, qmax
        theta, offset = (
            self.bit_widths.parameter(weights[role], bits, bank) for role in ("theta", "beta")
        )
        zero_point = np.clip(np.rint(zero_point + offset.numpy()), qmin, qmax)
        return step / self.factor(theta).numpy(), zero_point, qmin, qmax

    def _accumulate(self, inputs, weights):
        low, high = self.batch_range(inputs)
        before = weights["samples"]
        added = tf.cast(tf.shape(inputs)[0], tf.float32)
        share = added / (before + added)
        updates = [
            weights[role].assign_add((value - weights[role]) * share)
            for role, value in (("range_low", low), ("range_high", high))
        ]
        with tf.control_dependencies(updates):
            counted = weights["samples"].assign_add(added)
        with tf.control_dependencies([counted]):
            return tf.identity(low), tf.identity(high)


def learned_factor(theta: tf.Tensor) -> tf.Tensor:
    """gamma = log2(1 + 2^theta): positive, and 1 at theta = 0."""
    return tf.math.softplus(theta * _LOG_TWO) / _LOG_TWO


@tf.custom_gradient
def _held(value):
    """`value` with a gradient of zeros: Keras warns of variables that have none."""
    return tf.identity(value), tf.zeros_like


def _theta(factor):
    """The theta of a factor, a float or an array: the inverse of `learned_factor`."""
    return np.log2(np.exp2(np.float64(factor)) - 1.0)


def _stored(layer, name, dtype):
    zero = keras.initializers.Constant(False if dtype == tf.bool else 0.0)
    return layer.add_weight(name=name, shape=(), dtype=dtype, initializer=zero, trainable=False)


def _stored_range(weights):
    calibrated = tf.debugging.Assert(
        weights["samples"] > 0,
        [
            "The activation quantizer",
            weights["samples"].name,
            "has no range yet. Run quantize_configs.calibrate(model, dataset) on training images "
            "before evaluating, predicting or converting.",
        ],
    )
    with tf.control_dependencies([] if calibrated is None else [calibrated]):
        return tf.identity(weights["range_low"]), tf.identity(weights["range_high"])
