"""Ideas for the training that the library does not have, for `equal_steps.py` to try.

Two places take them: `GradientTerms`, an optimizer that changes the summed gradient of a step, and
`TrainingIdea`, a recipe that changes which subnets learn or what they learn from.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from qfa_tf import QFASupernet, QFATraining
from qfa_tf.training.step import BoundTraining
from quantize_configs.keras_backend import keras

OTHER_DRAWS = 1_000_000
"""What is added to the number of a step for subnets that the step itself does not draw."""

Changed = Callable[[Sequence[tf.Tensor], Sequence[tf.Variable], tf.Tensor], list[tf.Tensor]]
"""From the gradients, their variables and the number of the step to other gradients."""


class GradientTerms(keras.optimizers.SGD):
    """Momentum of the gradient that some function changed.

    Args:
      changed: The function.
    """

    def __init__(self, *args, changed: Changed, **kwargs):
        super().__init__(*args, **kwargs)
        self._changed = changed

    def apply_gradients(self, grads_and_vars, *args, **kwargs):
        """Changes the gradients, then applies them."""
        gradients, variables = zip(*grads_and_vars, strict=True)
        step = tf.cast(self.iterations, tf.float32)
        # All of them in the graph of the update, also those that are left as they are.
        gradients = [tf.identity(one) for one in self._changed(gradients, variables, step)]
        super().apply_gradients(zip(gradients, variables, strict=True), *args, **kwargs)


def slower_grids(factors: Mapping[int, float]) -> Callable[[QFASupernet, int], Changed]:
    """Rates of the learned values of all grids multiplied by a factor of their bit-width.

    Momentum is linear, so that a factor of the gradient is one of the rate.
    """

    def of(net, total_steps):
        precision = net.precision
        vectors = {precision.step.ref(): ("weight", precision.steps_of)}
        for role in precision.activation_roles:
            vectors[getattr(precision, role).ref()] = ("activation", precision.activations_of)

        def factors_of(variable):
            kind, places = vectors[variable.ref()]
            found = np.ones(variable.shape, np.float32)
            for name, site in precision.sites.items():
                quantizer = getattr(site, kind)
                if quantizer is not None:
                    row = [factors.get(bits, 1.0) for bits in quantizer.bit_widths.choices]
                    found[places(name)] = np.tile(row, len(site.kernel_sizes))
            return tf.constant(found)

        def changed(gradients, variables, step):
            return [
                gradient * factors_of(variable) if variable.ref() in vectors else gradient
                for gradient, variable in zip(gradients, variables, strict=True)
            ]

        return changed

    return of


def penalty(of_kernel: Callable, weight: float) -> Callable[[QFASupernet, int], Changed]:
    """The gradient of a penalty of every kernel, which grows as a cosine from 0 to `weight`.

    Args:
      of_kernel: From a kernel and the smallest step of its site, by bits, to a scalar.
      weight: Of the penalty.
    """

    def of(net, total_steps):
        precision = net.precision
        layers = {site.name: net.site_layer(site.name) for site in net.space.network.sites}
        sites = {
            layer.kernel.ref(): (name, layer.weight_quantizer)
            for name, layer in layers.items()
            if layer.weight_quantizer
        }

        def gradient_of(variable, step):
            name, quantizer = sites[variable.ref()]
            bits = min(quantizer.bit_widths.choices)
            size = fewest_bits_step(precision, name, quantizer)
            with tf.GradientTape() as tape:
                kernel = tf.convert_to_tensor(variable)
                tape.watch(kernel)
                value = of_kernel(kernel, size, quantizer.limits(bits))
            share = 0.5 * (1.0 - tf.cos(np.pi * step / total_steps))
            return weight * share * tape.gradient(value, kernel)

        def changed(gradients, variables, step):
            return [
                gradient + gradient_of(variable, step) if variable.ref() in sites else gradient
                for gradient, variable in zip(gradients, variables, strict=True)
            ]

        return changed

    return of


def fewest_bits_step(precision, name: str, quantizer) -> tf.Tensor:
    """Step of the kernel of a site at its fewest bits, scalar."""
    # The largest kernel size, which is the one that is stored, comes last.
    last = precision.steps_of(name).stop - len(quantizer.bit_widths.choices)
    return tf.abs(tf.convert_to_tensor(precision.step)[last])


def distance_from_codes(kernel, size, limits) -> tf.Tensor:
    """Squared distance of the weights in the grid from their codes (Nagel et al., ICML 2022)."""
    low, high = (size * limit for limit in limits)
    codes = tf.stop_gradient(tf.clip_by_value(tf.round(kernel / size), *limits) * size)
    inside = tf.cast((kernel > low) & (kernel < high), kernel.dtype)
    return tf.reduce_sum(inside * tf.square(kernel - codes))


def far_from_uniform(kernel, size, limits) -> tf.Tensor:
    """Squared distance of the kurtosis from 1.8, that of a uniform distribution (EQ-Net)."""
    centred = kernel - tf.reduce_mean(kernel)
    variance = tf.reduce_mean(tf.square(centred))
    kurtosis = tf.reduce_mean(centred**4) / (tf.square(variance) + 1e-12)
    return tf.square(kurtosis - 1.8)


@dataclasses.dataclass(frozen=True)
class TrainingIdea(QFATraining):
    """A recipe with something that the library does not have.

    Attributes:
      by_bits: Exponent of a subnet's mean weight bits over 3, by which its gradient is multiplied.
      teacher_bits: Bits of the largest subnet as the teacher; 0 for the recipe's own.
      soft_labels: Exponent of 4 over a subnet's mean weight bits, by which the teacher's logits are
        divided: above 0, fewer bits learn from softer labels.
      least_depthwise_bits: Of weights and inputs of depthwise sites.
      rested: Share of the sites with two bits that have 3 instead, those whose weights stand most
        often at a rounding boundary; from half of the steps to 0.85 of them.
      steps: Of the whole training, for `rested`.
      ends: What the smallest and the largest subnet of a step are: "sandwich" as the library has
        them, with one random bit-width for the whole net; "free_bits" with bits of their own for
        each site; "random" for two more random subnets in their places.
    """

    by_bits: float = 0.0
    teacher_bits: int = 0
    soft_labels: float = 0.0
    least_depthwise_bits: int = 0
    rested: float = 0.0
    steps: int = 0
    ends: str = "sandwich"

    def bind(self, net):
        """The training of one supernet."""
        return _BoundIdea(self, net)


class _BoundIdea(BoundTraining):
    recipe: TrainingIdea

    def __init__(self, recipe, net):
        space = net.space
        self._weight_columns = [c.column for c in space.genes if c.role == "weight_bits"]
        self._depthwise = depthwise_bits(space)
        super().__init__(recipe, net)
        if recipe.teacher_bits:
            teacher = space.encode(space.largest(bits=recipe.teacher_bits))
            self._teacher = tf.constant(teacher, tf.int32)

    def genomes(self, step):
        genomes = super().genomes(step)
        if self.recipe.ends != "sandwich":
            drawn = self.sampler.draw(step + OTHER_DRAWS, self.stage_of(step))[-2:]
            if self.recipe.ends == "free_bits":
                bits = np.array([gene.is_bits for gene in self._net.space.genes])
                drawn = tf.where(bits, drawn, genomes[:2])
            genomes = tf.concat([drawn, genomes[2:]], 0)
        if self.recipe.least_depthwise_bits:
            raised = tf.maximum(genomes, self.recipe.least_depthwise_bits)
            genomes = tf.where(self._depthwise & (genomes > 0), raised, genomes)
        if self.recipe.rested:
            share = tf.cast(step, tf.float32) / self.recipe.steps
            active = (share >= 0.5) & (share < 0.85)
            resting = self._resting() & active & (genomes == 2)
            genomes = tf.where(resting, 3, genomes)
        return genomes

    def _resting(self) -> tf.Tensor:
        """Which columns of a genome are bits of a site that rests, bool [n_genes]."""
        space, precision = self._net.space, self._net.precision
        columns, shares = [], []
        for site in space.network.sites:
            layer = self._net.site_layer(site.name)
            column = space.gene_index.get(site.weight_bits)
            if column is None:
                continue
            size = fewest_bits_step(precision, site.name, layer.weight_quantizer)
            scaled = tf.convert_to_tensor(layer.kernel) / size
            limits = layer.weight_quantizer.limits(2)
            inside = tf.cast((scaled > limits[0]) & (scaled < limits[1]), tf.float32)
            near = tf.cast(tf.abs(scaled - tf.floor(scaled) - 0.5) < 0.05, tf.float32)
            shares.append(tf.reduce_sum(near * inside) / tf.maximum(tf.reduce_sum(inside), 1.0))
            columns.append(column)
        values = tf.stack(shares)
        least = tf.sort(values)[int((1.0 - self.recipe.rested) * len(columns))]
        found = tf.scatter_nd(
            tf.constant(columns)[:, None], tf.cast(values >= least, tf.int32), [space.n_genes]
        )
        return found > 0

    def _mean_bits(self, genome) -> tf.Tensor:
        bits = tf.cast(tf.gather(genome, self._weight_columns), tf.float32)
        bits = tf.minimum(bits, 4.0)  # float counts as the most bits
        chosen = tf.cast(bits > 0, tf.float32)
        return tf.reduce_sum(bits * chosen) / tf.reduce_sum(chosen)

    def _subnet_gradients(
        self, images, labels, genome, teacher_logits, share, dropout_seed, weights=None
    ):
        bits = self._mean_bits(genome)
        if self.recipe.soft_labels:
            teacher_logits /= (4.0 / bits) ** self.recipe.soft_labels
        loss, logits, gradients = super()._subnet_gradients(
            images, labels, genome, teacher_logits, share, dropout_seed, weights
        )
        if self.recipe.by_bits:
            factor = (bits / 3.0) ** self.recipe.by_bits
            gradients = [factor * gradient for gradient in gradients]
        return loss, logits, gradients


def depthwise_bits(space) -> np.ndarray:
    """Which columns of a genome are bits of depthwise sites, bool [n_genes]."""
    found = np.zeros(space.n_genes, bool)
    for site in space.network.sites:
        if site.kind == "depthwise":
            for name in (site.weight_bits, site.activation_bits):
                if name in space.gene_index:
                    found[space.gene_index[name]] = True
    return found
