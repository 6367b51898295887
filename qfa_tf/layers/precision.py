"""Learned quantizer parameters of all sites, stacked, and their reading by tables.

A forward pass needs, at each site, one step, one factor and one offset out of many, and the code
limits that go with them. Reading them site by site would take some twenty operators at each; here
a handful of operators reads them for all sites at once.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from quantize_configs.bounds import StepsWithinWeights, magnitudes_of
from quantize_configs.elastic_quantizer import ElasticQuantizer, LearnedValue
from quantize_configs.fake_quantization import FLOAT_BITS
from quantize_configs.keras_backend import keras

BATCH_ROLES = ("theta", "beta")
_VECTORS = {"step": "activation_step", "low": "activation_low"}
"""Names of the vectors of inputs whose role is also one of weights; checkpoints know them."""


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

    weight: ElasticQuantizer | None
    activation: ElasticQuantizer | None
    kernel_sizes: tuple[int, ...]
    elements: tuple[int, ...]


class PrecisionBank(keras.layers.Layer):
    """Steps, factors and offsets of all sites.

    Each site has, per kernel size, one parameter for each of its bit-widths, side by side. The
    inputs of all sites have quantizers of one class.

    Args:
      sites: The quantizers of every site, by name.
      kernels: Function for the kernels of a site, by its name, one per kernel size with steps of
        its own: what training keeps the steps fit for. Without it they are free, as in the paper.

    Attributes:
      learns_grids: Whether the grids of inputs are learned, and not found from their ranges.
      activation_roles: Names of the vectors with the learned parameters of inputs.
    """

    def __init__(
        self,
        sites: Mapping[str, SiteQuantizers],
        kernels: Callable[[str], Sequence[tf.Tensor]] | None = None,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.sites = dict(sites)
        self._kernels = kernels
        self._weights = _Tables({name: (site.weight, site) for name, site in sites.items()})
        self._activations = _Tables({name: (site.activation, site) for name, site in sites.items()})
        self.learns_grids = self._activations.needs_start
        learned = self._activations.learned_values or dict.fromkeys(BATCH_ROLES, LearnedValue(0.0))
        self._learned = {_VECTORS.get(role, role): (role, one) for role, one in learned.items()}
        self.activation_roles = tuple(self._learned)

    def build(self, input_shape=None):
        """Creates float32 vectors: `step` (ones), and `activation_roles` for inputs.

        Where grids are learned, also `activation_started` (zeros: which have a value from data).
        """

        def vector(name, initial, trainable=True, constraint=None):
            return self.add_weight(
                name=name,
                shape=initial.shape,
                dtype=tf.float32,
                initializer=keras.initializers.Constant(initial),
                trainable=trainable,
                constraint=constraint,
            )

        self.step = vector("step", self._weights.first_values("step"), True, self._step_bounds())
        for name, (role, one) in self._learned.items():
            setattr(self, name, vector(name, self._activations.first_values(role), one.trainable))
        if self.learns_grids:
            none = np.zeros(self._activations.size, np.float32)
            self.activation_started = vector("activation_started", none, False)
        super().build(input_shape)

    def _step_bounds(self) -> StepsWithinWeights | None:
        if self._kernels is None or not self._weights.names:
            return None
        kernels_of = self._kernels
        counts = [
            len(site.weight.bit_widths.choices)
            for site in self.sites.values()
            if site.weight is not None
            for _ in site.kernel_sizes
        ]
        entries = np.repeat(np.arange(len(counts)), counts)  # of each step: which kernel

        def magnitudes():
            kernels = [one for name in self._weights.names for one in kernels_of(name)]
            measured = [magnitudes_of(one) for one in kernels]
            mean, largest = (
                tf.gather(tf.stack(one), entries) for one in zip(*measured, strict=True)
            )
            return mean, largest

        return StepsWithinWeights(magnitudes, self._weights.limits[:, 1])

    def read(
        self, weight_bits: tf.Tensor, activation_bits: tf.Tensor, kernel_sizes: tf.Tensor
    ) -> dict[str, tuple[Any, Any]]:
        """What every site uses for its bits and kernel.

        Args:
          weight_bits: int32 [sites]; values that a site does not offer, as those of skipped
            blocks, read as its narrowest.
          activation_bits: The same for the inputs.
          kernel_sizes: int32 [sites].

        Returns:
          By site, the `Choice` of the quantizer of its weight and of its input; None where the
          site is in float.
        """
        kernels = self._weights.read([self.step], weight_bits, kernel_sizes)
        vectors = [getattr(self, role) for role in self.activation_roles]
        inputs = self._activations.read(vectors, activation_bits, kernel_sizes)
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

    def readable_activations(self) -> dict[str, np.ndarray]:
        """The learned vectors of inputs as people read them, by name."""
        return self._activations.readable([getattr(self, role) for role in self.activation_roles])

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
        for name, (role, _) in self._learned.items():
            getattr(self, name).assign(self._activations.first_values(role))
        if self.learns_grids:
            self.activation_started.assign(tf.zeros_like(self.activation_started))

    @property
    def unstarted(self) -> np.ndarray:
        """bool vector: the learned grids that have no value from data or another net yet."""
        if not self.learns_grids:
            return np.zeros(self._activations.size, bool)
        return self.activation_started.numpy() == 0

    def start_activations(
        self, values: Mapping[str, Mapping[str, np.ndarray]], replace: bool
    ) -> None:
        """Gives learned grids their first values.

        Args:
          values: By site, what `ElasticQuantizer.start` found; all kernel sizes start with it.
          replace: Whether grids that have values already get these, too.
        """
        wanted = np.ones(self._activations.size, bool) if replace else self.unstarted
        for name, (role, _) in self._learned.items():
            variable = getattr(self, name)
            vector = variable.numpy()
            for site, found in values.items():
                place = self.activations_of(site)
                fresh = np.tile(found[role], len(vector[place]) // len(found[role]))
                vector[place] = np.where(wanted[place], fresh, vector[place])
            variable.assign(vector)
        started = self.activation_started.numpy()
        for site in values:
            started[self.activations_of(site)] = 1.0
        self.activation_started.assign(started)


class _Tables:
    """Positions and code limits of the parameters of one kind, by site, bits and kernel.

    The quantizers are of one class and have one zero point, so that one of them reads for all.
    """

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
                quantizer.limits(bits)
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

    @property
    def needs_start(self) -> bool:
        """Whether learned values have no sense before data."""
        return any(quantizer.needs_start for quantizer in self._quantizers)

    @property
    def learned_values(self) -> dict[str, LearnedValue]:
        """What is learned, by role; trainable where it is at any site."""
        found: dict[str, LearnedValue] = {}
        for quantizer in self._quantizers:
            for role, one in quantizer.learned_values.items():
                before = found.get(role, one)
                found[role] = dataclasses.replace(one, trainable=one.trainable or before.trainable)
        return found

    def first_values(self, role: str) -> np.ndarray:
        """Learned values before any data, float32 [size]."""
        found = [
            np.tile(quantizer.first_values(role), len(site.kernel_sizes))
            for quantizer, site in zip(self._quantizers, self._sites, strict=True)
        ]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def readable(self, vectors: Sequence[tf.Variable]) -> dict[str, np.ndarray]:
        """Vectors of learned values as people read them, by name."""
        if not self.names:
            return {}
        return self._quantizers[0].readable([vector.numpy() for vector in vectors])

    def read(
        self, vectors: Sequence[tf.Variable], bits: tf.Tensor, kernel_sizes: tf.Tensor
    ) -> dict[str, Any]:
        """The `Choice` of each site of `names`, from int32 vectors of all sites."""
        if not self.names:
            return {}
        index, qmin, qmax, enabled = self.look_up(bits, kernel_sizes)
        first, factors = self._quantizers[0], tf.gather(self.gradient_factors, index)
        learned = first.used([tf.gather(vector, index) for vector in vectors], factors)
        return self.unstack(first.Choice, (*learned, qmin, qmax), enabled)

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
