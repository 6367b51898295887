"""Learned quantizer parameters of all sites, stacked, and their reading by tables.

A forward pass needs, at each site, one step, one factor and one offset out of many, and the code
limits that go with them. Reading them site by site would take some twenty operators at each; here
a handful of operators reads them for all sites at once.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs import BatchQuantizer, LSQQuantizer
from quantize_configs.batch_quantizer import learned_factor
from quantize_configs.fake_quantization import FLOAT_BITS, scale_gradient
from quantize_configs.keras_backend import keras
from quantize_configs.lsq_activation_quantizer import LSQActivationQuantizer

BATCH_ROLES = ("theta", "beta")
GRID_ROLES = ("activation_step", "activation_low")
"""Learned vectors of inputs: of BatchQuant, and of grids that are learned themselves."""


@dataclasses.dataclass(frozen=True)
class SiteQuantizers:
    """The quantizers of a site; None where the site is in float.

    Attributes:
      weight: Of the kernel.
      activation: Of the input.
      kernel_sizes: One set of learned parameters (a bank) each; the largest alone where all kernel
        sizes share their parameters.
      elements: Number of weights per kernel size, for the gradient of the steps.
    """

    weight: LSQQuantizer | None
    activation: BatchQuantizer | LSQActivationQuantizer | None
    kernel_sizes: tuple[int, ...]
    elements: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class WeightPrecision:
    """The grid of a kernel: float32 scalars `step` (positive), `qmin`, `qmax`; bool `enabled`."""

    step: Any
    qmin: Any
    qmax: Any
    enabled: Any


@dataclasses.dataclass(frozen=True)
class ActivationPrecision:
    """The grid of an input but for its range: `factor` (gamma), `offset` (beta) and limits."""

    factor: Any
    offset: Any
    qmin: Any
    qmax: Any
    enabled: Any


@dataclasses.dataclass(frozen=True)
class LearnedGrid:
    """The grid of an input as it is learned: `step`, lower end `low`, and limits."""

    step: Any
    low: Any
    qmin: Any
    qmax: Any
    enabled: Any


class PrecisionBank(keras.layers.Layer):
    """Steps, factors and offsets of all sites.

    Each site has, per kernel size, one parameter for each of its bit-widths, side by side. The
    inputs of all sites have quantizers of one class.

    Args:
      sites: The quantizers of every site, by name.

    Attributes:
      learns_grids: Whether the grids of inputs are learned, and not found from their ranges.
      activation_roles: Names of the vectors with the learned parameters of inputs.
    """

    def __init__(self, sites: Mapping[str, SiteQuantizers], **kwargs):
        super().__init__(**kwargs)
        self.sites = dict(sites)
        self._weights = _Tables({name: (site.weight, site) for name, site in sites.items()})
        self._activations = _Tables({name: (site.activation, site) for name, site in sites.items()})
        inputs = [site.activation for site in sites.values() if site.activation is not None]
        self.learns_grids = bool(inputs) and isinstance(inputs[0], LSQActivationQuantizer)
        self.activation_roles = GRID_ROLES if self.learns_grids else BATCH_ROLES
        self._has_offsets = any(getattr(one, "has_offset", False) for one in inputs)
        if not self.learns_grids:
            self._factor = inputs[0].factor if inputs else learned_factor  # the same at all sites

    def build(self, input_shape=None):
        """Creates float32 vectors: `step` (ones), `theta` and `beta` (zeros).

        Where grids are learned, `activation_step` (ones), `activation_low` (zeros) and
        `activation_started` (zeros: which of them have a value from data) in place of the last two.
        """

        def vector(name, size, initializer, trainable=True):
            return self.add_weight(
                name=name,
                shape=(size,),
                dtype=tf.float32,
                initializer=initializer,
                trainable=trainable,
            )

        self.step = vector("step", self._weights.size, "ones")
        size = self._activations.size
        if self.learns_grids:
            self.activation_step = vector("activation_step", size, "ones")
            self.activation_low = vector("activation_low", size, "zeros", self._has_offsets)
            self.activation_started = vector("activation_started", size, "zeros", False)
        else:
            self.theta = vector("theta", size, "zeros")
            self.beta = vector("beta", size, "zeros")
        super().build(input_shape)

    def read(
        self, weight_bits: tf.Tensor, activation_bits: tf.Tensor, kernel_sizes: tf.Tensor
    ) -> dict[str, tuple[WeightPrecision | None, ActivationPrecision | LearnedGrid | None]]:
        """What every site uses for its bits and kernel.

        Args:
          weight_bits: int32 [sites]; values that a site does not offer, as those of skipped
            blocks, read as its narrowest.
          activation_bits: The same for the inputs.
          kernel_sizes: int32 [sites].
        """
        weights, activations = self._weights, self._activations
        index, qmin, qmax, enabled = weights.look_up(weight_bits, kernel_sizes)
        factors = tf.gather(weights.gradient_factors, index)
        step = scale_gradient(tf.abs(tf.gather(self.step, index)), factors)
        kernels = weights.unstack(WeightPrecision, (step, qmin, qmax), enabled)
        index, qmin, qmax, enabled = activations.look_up(activation_bits, kernel_sizes)
        if self.learns_grids:
            kind = LearnedGrid
            learned = [tf.gather(getattr(self, role), index) for role in GRID_ROLES]
        else:
            kind = ActivationPrecision
            learned = [self._factor(tf.gather(self.theta, index)), tf.gather(self.beta, index)]
        inputs = activations.unstack(kind, (*learned, qmin, qmax), enabled)
        return {name: (kernels.get(name), inputs.get(name)) for name in self.sites}

    def weight_step(self, site: str, bits: int, kernel_size: int | None = None) -> float:
        """The learned step of a kernel (its absolute value)."""
        return abs(float(self.step[self._weights.position(site, bits, kernel_size)]))

    def activation_parameters(
        self, site: str, bits: int, kernel_size: int | None = None
    ) -> tuple[float, float]:
        """(theta, beta) of the input of a site, or (step, low) where grids are learned."""
        position = self._activations.position(site, bits, kernel_size)
        first, second = (float(getattr(self, role)[position]) for role in self.activation_roles)
        return first, second

    def steps_of(self, site: str) -> slice:
        """Where the steps of a site stand in `step`: by kernel size, then by bits."""
        return self._weights.slice_of(site)

    def activations_of(self, site: str) -> slice:
        """Where the parameters of the input of a site stand in `activation_roles`."""
        return self._activations.slice_of(site)

    def set_steps(self, site: str, values: np.ndarray) -> None:
        """Replaces all steps of a site, in the order of `steps_of`."""
        steps = self.step.numpy()
        steps[self.steps_of(site)] = values
        self.step.assign(steps)

    def reset_activations(self) -> None:
        """Forgets what was learned about inputs: all vectors as `build` makes them."""
        first, second = (getattr(self, role) for role in self.activation_roles)
        first.assign(tf.ones_like(first) if self.learns_grids else tf.zeros_like(first))
        second.assign(tf.zeros_like(second))
        if self.learns_grids:
            self.activation_started.assign(tf.zeros_like(self.activation_started))

    @property
    def unstarted(self) -> np.ndarray:
        """bool vector: the learned grids that have no value from data or another net yet."""
        if not self.learns_grids:
            return np.zeros(self._activations.size, bool)
        return self.activation_started.numpy() == 0

    def start_activations(
        self, values: Mapping[str, tuple[np.ndarray, np.ndarray]], replace: bool
    ) -> None:
        """Gives learned grids their first values.

        Args:
          values: By site, steps and lower ends by bits; all kernel sizes start with them.
          replace: Whether grids that have values already get these, too.
        """
        wanted = np.ones(self._activations.size, bool) if replace else self.unstarted
        for role, column in zip(GRID_ROLES, range(2), strict=True):
            vector = getattr(self, role).numpy()
            for site, arrays in values.items():
                place = self.activations_of(site)
                repeats = len(vector[place]) // len(arrays[column])
                fresh = np.tile(arrays[column], repeats)
                vector[place] = np.where(wanted[place], fresh, vector[place])
            getattr(self, role).assign(vector)
        started = self.activation_started.numpy()
        for site in values:
            started[self.activations_of(site)] = 1.0
        self.activation_started.assign(started)


class _Tables:
    """Positions and code limits of the parameters of one kind, by site, bits and kernel."""

    def __init__(self, quantizers: Mapping[str, tuple[Any, SiteQuantizers]]):
        self.names = [name for name, (quantizer, _) in quantizers.items() if quantizer is not None]
        self.rows = np.array(
            [row for row, name in enumerate(quantizers) if name in self.names], np.int32
        )
        self._quantizers = [quantizers[name][0] for name in self.names]
        self._sites = [quantizers[name][1] for name in self.names]
        counts = [
            len(quantizer.bit_widths.choices) * len(site.kernel_sizes)
            for quantizer, site in zip(self._quantizers, self._sites, strict=True)
        ]
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self.size = int(self._starts[-1])
        choices = [quantizer.bit_widths.choices for quantizer in self._quantizers]
        # By bits, then by kernel size: where the parameter stands after the start of its site.
        columns = np.arange(FLOAT_BITS + 1)
        self._of_bits = np.array(
            [np.maximum(np.searchsorted(offered, columns, "right") - 1, 0) for offered in choices],
            np.int32,
        ).reshape(-1, FLOAT_BITS + 1)
        largest = max((site.kernel_sizes[-1] for site in self._sites), default=1)
        self._of_kernel = np.array(
            [
                [
                    site.kernel_sizes.index(size) * len(offered) if size in site.kernel_sizes else 0
                    for size in range(largest + 1)
                ]
                for site, offered in zip(self._sites, choices, strict=True)
            ],
            np.int32,
        ).reshape(-1, largest + 1)
        self.limits = np.array(
            [
                _code_limits(quantizer, bits)
                for quantizer, site in zip(self._quantizers, self._sites, strict=True)
                for _ in site.kernel_sizes
                for bits in quantizer.bit_widths.choices
            ],
            np.float32,
        ).reshape(-1, 2)
        elements = [
            count
            for site, offered in zip(self._sites, choices, strict=True)
            for count in site.elements
            for _ in offered
        ]
        self.gradient_factors = (
            1.0 / np.sqrt(np.array(elements, np.float64) * self.limits[:, 1])
        ).astype(np.float32)

    def look_up(self, bits: tf.Tensor, kernel_sizes: tf.Tensor):
        """(position, qmin, qmax, enabled) per site of `names`, from int32 vectors of all sites."""
        bits = tf.gather(bits, self.rows)
        of_bits = tf.gather(self._of_bits, bits, axis=1, batch_dims=1)
        of_kernel = tf.gather(
            self._of_kernel, tf.gather(kernel_sizes, self.rows), axis=1, batch_dims=1
        )
        index = self._starts[:-1] + of_bits + of_kernel
        limits = tf.gather(self.limits, index)
        return index, limits[:, 0], limits[:, 1], tf.not_equal(bits, FLOAT_BITS)

    def unstack(self, kind: type, columns: Sequence[tf.Tensor], enabled: tf.Tensor) -> dict:
        """One `kind` of scalars per site."""
        if not self.names:
            return {}
        rows = zip(*(tf.unstack(column) for column in columns), strict=True)
        switches = [
            switch if quantizer.bit_widths.allow_float else None
            for switch, quantizer in zip(tf.unstack(enabled), self._quantizers, strict=True)
        ]
        return {
            name: kind(*row, switch)
            for name, row, switch in zip(self.names, rows, switches, strict=True)
        }

    def position(self, site: str, bits: int, kernel_size: int | None) -> int:
        """Where the parameter of one choice stands; the first kernel size without one."""
        row = self.names.index(site)
        size = self._sites[row].kernel_sizes[0] if kernel_size is None else kernel_size
        return int(self._starts[row] + self._of_bits[row, bits] + self._of_kernel[row, size])

    def slice_of(self, site: str) -> slice:
        """Where all parameters of a site stand."""
        row = self.names.index(site)
        return slice(int(self._starts[row]), int(self._starts[row + 1]))


def _code_limits(quantizer, bits: int) -> tuple[float, float]:
    """Smallest and largest code; see `quantize_configs.fake_quantization.code_limits`."""
    if not quantizer.signed:
        return 0.0, 2.0**bits - 1.0
    half = 2.0 ** (bits - 1)
    narrow = isinstance(quantizer, LSQQuantizer) and bits in quantizer.narrow_bits
    return narrow - half, half - 1.0
